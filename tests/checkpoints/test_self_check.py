"""The self-check: engines are compared with Paddle on masks; what differs is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from ovseg.checkpoints.check_samples import photographs, prompts_on
from ovseg.checkpoints.mask_agreement import Bar, agreement, cosine
from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.checkpoints.self_check import check_engines
from ovseg.cli.main import app
from ovseg.engines import Array, choosing
from ovseg.engines.choosing import EngineChoice, choose_engine
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.manifest import EngineCheck, ModelManifest
from ovseg.settings import Settings
from ovseg.stages.encoder import load_image_encoder

SETTINGS = Settings(threads=1)
STANDIN = Path(__file__).parents[1] / "contract" / "data" / "standin_models" / "SAM-H_box"


@pytest.fixture
def model(small_model: Path, tmp_path: Path) -> Path:
    """The small model with its ONNX graphs."""
    folder = tmp_path / "models" / "small"
    shutil.copytree(small_model, folder)
    write_onnx_graphs(folder, print)
    return folder


def results(manifest: ModelManifest) -> dict[str, EngineCheck]:
    return {f"{check.part} {check.engine} {check.precision}": check for check in manifest.checks}


class Distorted:
    """An engine whose results are off."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        noise = np.random.default_rng(0)
        return tuple(
            output + output.std() * noise.standard_normal(output.shape, np.float32)
            for output in self._engine.run(**inputs)
        )


@pytest.fixture
def distort(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let OpenVINO give wrong results for one program."""

    def distort_program(name: str) -> None:
        right = choosing._OPENERS["openvino"]

        def open_distorted(folder: Path, threads: int, precision: Any) -> Any:
            engine = right(folder, threads, precision)
            return Distorted(engine) if folder.name == name else engine

        monkeypatch.setitem(choosing._OPENERS, "openvino", open_distorted)

    return distort_program


def test_float32_is_accepted_and_recorded(model: Path) -> None:
    lines: list[str] = []
    manifest = check_engines(model, SETTINGS, lines.append)
    assert manifest == ModelManifest.load(model)
    found = results(manifest)
    for part in ("encoder", "decoder"):
        for engine in ("paddle", "openvino"):
            check = found[f"{part} {engine} fp32"]
            assert check.accepted, check
            assert check.seconds > 0
            assert check.mean_iou > 0.999
    assert found["encoder openvino fp32"].embedding_cosine == pytest.approx(1, abs=1e-5)
    # OpenVINO works: there is nothing to gain from onnxruntime. int8 is for who asks for it.
    assert not any("onnxruntime" in name or "int8" in name for name in found)
    assert lines[0] == "checking the encoder and the decoder with paddle fp32, the reference"


def test_an_engine_with_other_masks_is_refused_and_the_next_one_is_tried(
    model: Path, distort: Callable[[str], None]
) -> None:
    distort("encoder")
    manifest = check_engines(model, SETTINGS)
    found = results(manifest)
    wrong = found["encoder openvino fp32"]
    assert not wrong.accepted
    assert wrong.reason == f"mean mask IoU {wrong.mean_iou:.4f} is below 0.99"
    assert found["decoder openvino fp32"].accepted, "each part is judged by itself"
    assert found["encoder onnxruntime fp32"].accepted
    assert choose_engine("encoder", SETTINGS, manifest).engine != "openvino"


def test_int8_is_tried_when_asked_for_and_refused_is_not_recorded(
    model: Path, monkeypatch: pytest.MonkeyPatch, distort: Callable[[str], None]
) -> None:
    monkeypatch.setattr("ovseg.engines.openvino_graph.SMALLEST_COMPRESSED", 100)
    accepted = check_engines(model, SETTINGS, precision="int8")
    check = results(accepted)["encoder openvino int8"]
    assert check.mean_iou < 1, "int8 is not float32"
    if check.accepted:
        assert accepted.precision == "int8"
        chosen = choose_engine("encoder", SETTINGS, accepted)
        assert chosen == EngineChoice("openvino", "int8")
    distort("encoder")
    refused = check_engines(model, SETTINGS, precision="int8")
    assert refused.precision == "auto"
    assert not results(refused)["encoder openvino int8"].accepted


def test_paddlexs_models_that_were_cut_gain_openvino(exported_model: Path, tmp_path: Path) -> None:
    folders = [exported_model / "SAM-H_box", exported_model / "SAM-H_point"]
    assert install_paddlex_model(folders, tmp_path, "SAM-H").kind == "cut"
    found = results(check_engines(tmp_path / "SAM-H", SETTINGS))
    assert found["encoder openvino fp32"].accepted
    assert found["decoder openvino fp32"].accepted


def test_a_model_without_graphs_runs_with_paddle_and_says_why(
    small_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    shutil.copytree(small_model, folder)
    manifest = check_engines(folder, SETTINGS)
    assert "inference.onnx is missing" in results(manifest)["encoder openvino fp32"].reason
    assert choose_engine("encoder", SETTINGS, manifest) == EngineChoice("paddle", "fp32")
    settings = Settings(model_dir=tmp_path, model="small", threads=1)
    load_image_encoder(settings)  # it does load


def test_the_command_prints_the_table(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model.parent))
    result = CliRunner().invoke(app, ["check", "small", "--precision", "int8"])
    assert result.exit_code == 1, "its matrices are too small for int8"
    assert "int8 was refused for small" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert any(line[:3] == ["decoder", "openvino", "fp32"] for line in lines)
    listed = CliRunner().invoke(app, ["models"]).output
    assert "small" in listed and "were not compared" not in listed


def test_import_checks_and_records_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    arguments = ["import", str(STANDIN), "--name", "mine", "--engine", "paddle"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    manifest = ModelManifest.load(tmp_path / "mine")
    assert manifest.engine == "paddle"
    assert {check.part for check in manifest.checks} == {"decoder"}, "it is served whole"
    assert "decoder  paddle" in result.output
    assert choose_engine("decoder", SETTINGS, manifest) == EngineChoice("paddle", "fp32")


def test_photographs_and_prompts_are_sound(small_model: Path) -> None:
    manifest = ModelManifest.load(small_model)
    for photo in photographs():
        prompts = prompts_on(photo, manifest)
        assert len(prompts) == 16
        assert prompts.coords.min() >= 0
        assert prompts.coords.max() <= manifest.input_size
    assert photo.shape[0] != photo.shape[1], "padding must be part of the check"


def logits(rows: slice, columns: slice) -> NDArray[np.float32]:
    mask = np.full((1, 1, 256, 256), -1, np.float32)
    mask[..., rows, columns] = 1
    return mask


def test_agreement_counts_what_is_valid() -> None:
    half, quarter = logits(slice(0, 128), slice(None)), logits(slice(0, 64), slice(None))
    assert agreement(half, quarter, (256, 256)) == [0.5]
    assert agreement(half, quarter, (64, 256)) == [1.0]
    few, none = logits(slice(0, 7), slice(0, 9)), logits(slice(0, 0), slice(0, 0))
    assert agreement(few, none, (256, 256)) == [1.0]
    assert agreement(np.full_like(half, np.nan), none, (256, 256)) == [0.0]


def test_bars() -> None:
    bar = Bar(0.99, 0.97)
    assert bar.objection(0.99, 0.97) == ""
    assert bar.objection(0.9899, 0.98) == "mean mask IoU 0.9899 is below 0.99"
    assert bar.objection(0.995, 0.96) == "lowest mask IoU 0.9600 is below 0.97"
    assert bar.objection(float("nan"), 1.0)


def test_cosine_of_embeddings() -> None:
    embedding = np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32)
    assert cosine(embedding, 2 * embedding) == pytest.approx(1)
    assert cosine(embedding, -embedding) == pytest.approx(-1)
