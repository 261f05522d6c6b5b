"""PaddleX's models in the older format are imported, and do what those in today's format do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.import_sources import import_sources
from ovseg.manifest import ModelManifest
from tests.served import BOXES, POINTS, ServedModel

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("SAM-H_box", "SAM-H_point")


@pytest.fixture(scope="module")
def older_models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `exported_model` in the older format."""
    folder = tmp_path_factory.mktemp("older")
    command = [sys.executable, "-m", "tests.checkpoints.write_older_format", str(folder)]
    with subprocess.Popen(command, cwd=ROOT) as writer:
        exported_model: Path = request.getfixturevalue("exported_model")  # Made meanwhile.
    assert writer.returncode == 0
    for name in NAMES:
        shutil.copyfile(exported_model / name / "inference.yml", folder / name / "inference.yml")
        assert not (folder / name / "inference.json").exists()
    return folder


@pytest.fixture
def damaged(older_models: Path, tmp_path: Path) -> Path:
    """A copy of the box model, for a test to damage."""
    return Path(shutil.copytree(older_models / "SAM-H_box", tmp_path / "SAM-H_box"))


def test_older_models_give_the_masks_of_todays(
    older_models: Path, exported_model: Path, tmp_path: Path
) -> None:
    served = {}
    for name, folder in (("older", older_models), ("todays", exported_model)):
        lines: list[str] = []
        sources = [folder / model for model in NAMES]
        import_sources(sources, tmp_path, name=name, progress=lines.append)
        served[name] = ServedModel(tmp_path / name)
        assert ("translating SAM-H_box from Paddle's older format" in lines) == (name == "older")
        assert lines[-1] == "cut in two: one encoder serves all prompts on an image"
    for prompts in (BOXES, POINTS):
        older, todays = (model.decode(model.embed(), prompts) for model in served.values())
        np.testing.assert_allclose(older, todays, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"older", "todays"}


def test_the_manifest_names_the_older_files(older_models: Path, tmp_path: Path) -> None:
    manifest = import_sources([older_models / "SAM-H_box"], tmp_path, name="box")
    assert ModelManifest.load(tmp_path / "box") == manifest
    assert manifest.source == "SAM-H_box"
    names = [file.path for file in manifest.source_files]
    assert names == ["inference.pdmodel", "inference.pdiparams", "inference.yml"]


@pytest.mark.parametrize("file_name", ["inference.pdmodel", "inference.pdiparams"])
def test_a_truncated_file_is_one_line_and_leaves_nothing(
    damaged: Path, tmp_path: Path, file_name: str
) -> None:
    content = (damaged / file_name).read_bytes()
    (damaged / file_name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableCheckpointError, match=r"SAM-H_box/inference\.pdmodel") as error:
        import_sources([damaged], tmp_path / "models", name="model")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "models").iterdir()) == []


def test_weights_that_lack_their_last_byte_are_refused(damaged: Path, tmp_path: Path) -> None:
    weights = damaged / "inference.pdiparams"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UnreadableCheckpointError, match=r"inference\.pdiparams is truncated"):
        import_sources([damaged], tmp_path / "models", name="model")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("file_name", ["inference.pdiparams", "inference.yml"])
def test_a_missing_file_is_named(damaged: Path, tmp_path: Path, file_name: str) -> None:
    (damaged / file_name).unlink()
    with pytest.raises(UnreadableCheckpointError, match=f"SAM-H_box/{file_name} is missing"):
        import_sources([damaged], tmp_path / "models", name="model")
