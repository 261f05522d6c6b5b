"""`ovseg models`: what is installed and whether it is intact, and what can be fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from ovseg.checkpoints.import_sources import import_sources
from ovseg.checkpoints.installed import State, find_installed_models
from ovseg.checkpoints.published import PUBLISHED_MODELS
from ovseg.cli.main import app
from ovseg.network.variants import VARIANTS

STANDINS = Path(__file__).resolve().parent.parent / "contract" / "data" / "standin_models"
RunModels = Callable[..., tuple[int, str]]


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model directory with one model, `mine`."""
    import_sources([STANDINS / "SAM-H_box"], tmp_path / "models", name="mine")
    return tmp_path / "models"


@pytest.fixture
def run_models(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunModels:
    """`ovseg models …`: exit code, what it printed on standard output."""
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model_dir))
    monkeypatch.setenv("OVSEG_MODEL", "mine")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["models", *arguments])
        return result.exit_code, result.stdout

    return run


def change_weights(model_dir: Path) -> None:
    """Another byte, the same size."""
    path = model_dir / "mine" / "box" / "inference.pdiparams"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_tables_show_both_kinds(run_models: RunModels) -> None:
    code, output = run_models()
    assert code == 0
    (line,) = [line for line in output.splitlines() if line.startswith("*")]
    assert line.split() == [
        "*", "mine", "fused", "SAM-H_box", "0.0", "M", "1024", "0.0", "MB",
        "none", "paddle", "fp32", "complete",
    ]  # fmt: skip
    assert "mine: its engines were not compared; `ovseg check mine` does it" in output
    for name in PUBLISHED_MODELS:
        assert f"\n{name} " in output


def test_json_has_the_manifest(run_models: RunModels, model_dir: Path) -> None:
    code, output = run_models("--json")
    assert code == 0
    answer: dict[str, Any] = json.loads(output)
    (model,) = answer["installed"]
    assert (model["name"], model["state"], model["damage"]) == ("mine", "complete", None)
    assert model["runs_with"] == {"encoder": "none", "decoder": "paddle fp32"}
    assert model["manifest"] == json.loads((model_dir / "mine" / "model.json").read_text())
    assert [entry["name"] for entry in answer["fetchable"]] == list(PUBLISHED_MODELS)


def test_verify_finds_a_changed_byte(run_models: RunModels, model_dir: Path) -> None:
    assert run_models("--verify")[0] == 0
    change_weights(model_dir)
    assert run_models()[0] == 0
    code, output = run_models("--verify")
    assert code == 1
    assert "mine: box/inference.pdiparams has been changed" in output


def test_missing_and_short_files_are_seen_without_verify(
    run_models: RunModels, model_dir: Path
) -> None:
    path = model_dir / "mine" / "box" / "inference.pdiparams"
    path.write_bytes(b"short")
    assert "box/inference.pdiparams has 5 bytes instead of" in run_models()[1]
    path.unlink()
    assert "box/inference.pdiparams is missing" in run_models()[1]


def test_folders_that_are_no_models(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "stray").mkdir()
    (model_dir / ".hidden").mkdir()
    (model_dir / "file").write_text("")
    states = {model.folder.name: model.state for model in find_installed_models(model_dir)}
    assert states == {"mine": State.COMPLETE, "stray": State.DAMAGED}
    assert find_installed_models(tmp_path / "absent") == []


def test_nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path / "none"))
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    assert "none (the bundled model is prepared by `ovseg serve`)" in result.stdout


@pytest.mark.parametrize("model", PUBLISHED_MODELS.values(), ids=lambda model: model.name)
def test_published_table_is_sound(model: Any) -> None:
    assert model.variant is None or model.variant in VARIANTS
    for file in model.files:
        parts = urlsplit(file.url)
        assert parts.scheme == "https"
        assert file.name and "/" not in file.name
        if file.sha256 is not None:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size_bytes
