"""What a machine with a GPU will run, with a fake TensorRT and a fake PyTorch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ovseg.checkpoints import self_check
from ovseg.exporting.onnx_graph import write_onnx_graphs
from tests.loadtest.scripts import FOLDER, load_script
from tests.plans.fake_tensorrt import few_prompts, install_fake


@pytest.fixture(scope="module")
def gpu_check() -> ModuleType:
    return load_script("gpu_check")


@pytest.fixture
def models(small_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_model, tmp_path / "models" / "small")
    write_onnx_graphs(tmp_path / "models" / "small", print)
    return tmp_path / "models"


def run(gpu_check: Any, models: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(self_check, "prompts_on", few_prompts)
    patch.setattr(gpu_check, "RUNS", 2)
    patch.setattr(gpu_check, "WARM_UPS", 1)
    patch.setattr(gpu_check, "BATCHES", (1, 2))
    report = models.parent / "gpu.md"
    gpu_check.main(["--output", str(report), "--model", "small", "--model-dir", str(models)])
    return report.read_text("utf-8")


def test_a_plan_is_built_checked_timed_and_reported(
    gpu_check: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = install_fake(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)
    text = run(gpu_check, models, monkeypatch)
    (row,) = (line for line in text.splitlines() if line.startswith("| small"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "TensorRT fp16"
    for size, cell in zip((1, 2), cells[2:4], strict=True):
        milliseconds, images = cell.replace(",", "").split(" (")
        assert float(images.rstrip(")")) == pytest.approx(
            1000 * size / float(milliseconds), rel=0.1, abs=1
        )
    assert cells[4].startswith("IoU 0.99") or cells[4].startswith("IoU 1.0")
    assert "- PyTorch: " in text, "what could not run is told"
    assert recorder.batches[-6:] == [1, 1, 1, 2, 2, 2], "one to warm up, two that count"


def test_a_wrong_plan_is_told_and_nothing_is_a_failure(
    gpu_check: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake(monkeypatch).wrong_from_image = 0
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        run(gpu_check, models, monkeypatch)
    text = (models.parent / "gpu.md").read_text("utf-8")
    assert "- the plan of small: the plan is wrong, so it is not installed" in text


def test_the_script_is_sound() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "gpu_check.sh")], check=True)
    assert "loadtest.gpu_check --output" in (FOLDER / "gpu_check.sh").read_text("utf-8")
