"""Import: the model is complete or absent, and a wrong checkpoint gets one clear line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ovseg.checkpoints import importing
from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import (
    CheckpointError,
    MissingKeyError,
    UnexpectedKeyError,
    UnknownVariantError,
    UnreadableCheckpointError,
    WrongShapeError,
)
from ovseg.checkpoints.importing import import_checkpoint
from ovseg.checkpoints.state_dict import fill_network, find_slots
from ovseg.manifest import ModelManifest
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.variants import VARIANTS

State = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def tiny_state(tiny_checkpoint: Path) -> State:
    return {key: tensor.read() for key, tensor in read_checkpoint(tiny_checkpoint).items()}


@pytest.fixture
def save_tiny(tmp_path: Path, tiny_state: State) -> Callable[[State], Path]:
    """Save the tiny state dict with some keys changed (an empty array: removed)."""

    def save(changes: State) -> Path:
        path = tmp_path / "changed.safetensors"
        state = {**tiny_state, **changes}
        save_file({key: values for key, values in state.items() if values.size}, path)
        return path

    return save


@dataclass(frozen=True)
class Imported:
    """What an import gave."""

    model_dir: Path
    manifest: ModelManifest
    lines: list[str]


@pytest.fixture(scope="module")
def imported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The tiny checkpoint as the model `mine`."""
    model_dir, lines = tmp_path_factory.mktemp("imported"), []
    manifest = import_checkpoint(
        tiny_checkpoint, "sam_tiny", model_dir, name="mine", progress=lines.append
    )
    return Imported(model_dir, manifest, lines)


@pytest.fixture
def model_dir(imported: Imported, tmp_path: Path) -> Path:
    """A folder with the imported model `mine`, for a test to change."""
    return Path(shutil.copytree(imported.model_dir, tmp_path / "models"))


def test_writes_a_complete_model(imported: Imported) -> None:
    manifest, folder = imported.manifest, imported.model_dir / "mine"
    assert [path.name for path in imported.model_dir.iterdir()] == ["mine"]
    assert ModelManifest.load(folder) == manifest
    assert (manifest.name, manifest.variant, manifest.kind) == ("mine", "sam_tiny", "split")
    assert manifest.embedding_shape == (64, 64, 32)
    assert manifest.parameters == 238092
    assert manifest.source == "sam_tiny.pth"
    assert {file.path for file in manifest.files} == {
        f"{program}/inference.{suffix}"
        for program in manifest.program_names
        for suffix in ("json", "onnx", "pdiparams")
    }
    for file in manifest.files:
        assert (folder / file.path).stat().st_size == file.size_bytes
    assert imported.lines


def test_torch_and_safetensors_give_the_same_network(
    tiny_checkpoint: Path, save_tiny: Callable[[State], Path]
) -> None:
    networks = []
    for path in (tiny_checkpoint, save_tiny({})):
        slots = find_slots(SegmentAnything(VARIANTS["sam_tiny"]))
        fill_network(slots, read_checkpoint(path))
        networks.append({key: slot.parameter.numpy() for key, slot in slots.items()})
    for key, values in networks[0].items():
        assert (values == networks[1][key]).all(), key


@pytest.mark.parametrize(
    ("changes", "error_type", "parts"),
    [
        (
            {"mask_decoder.iou_token.weight": np.empty(0, np.float32)},
            MissingKeyError,
            ["lacks mask_decoder.iou_token.weight", "sam_tiny"],
        ),
        (
            {"image_encoder.extra": np.ones(3, np.float32)},
            UnexpectedKeyError,
            ["unexpected image_encoder.extra", "sam_tiny"],
        ),
        (
            {"image_encoder.blocks.0.attn.qkv.weight": np.ones((32, 96), np.float32)},
            WrongShapeError,
            ["image_encoder.blocks.0.attn.qkv.weight", "[32, 96]", "[96, 32]"],
        ),
        (
            {"mask_decoder.iou_token.weight": np.ones((1, 32), np.int64)},
            UnreadableCheckpointError,
            ["mask_decoder.iou_token.weight", "int64"],
        ),
    ],
    ids=["missing", "unexpected", "shape", "type"],
)
def test_wrong_checkpoints_leave_nothing_behind(
    changes: State,
    error_type: type[CheckpointError],
    parts: list[str],
    save_tiny: Callable[[State], Path],
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    with pytest.raises(error_type) as error:
        import_checkpoint(save_tiny(changes), "sam_tiny", models)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert not models.exists()


def test_checkpoint_of_another_variant(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a sam_tiny checkpoint, not sam_mini"):
        import_checkpoint(tiny_checkpoint, "sam_mini", tmp_path / "models")


def test_unknown_variant(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownVariantError, match="choose from sam_vit_h, sam_vit_l, sam_vit_b"):
        import_checkpoint(tiny_checkpoint, "sam_vit_x", tmp_path)


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "/absolute"])
def test_name_must_be_a_plain_folder_name(tiny_checkpoint: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be the name"):
        import_checkpoint(tiny_checkpoint, "sam_tiny", tmp_path / "models", name=name)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_midway_keeps_the_installed_model(
    failure: BaseException,
    tiny_checkpoint: Path,
    model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()}

    def save_half(_program: object, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "inference.json").write_text("half")
        if folder.name == "prompt_decoder":
            raise failure

    monkeypatch.setattr(importing, "save_program", save_half)
    with pytest.raises(type(failure)):
        import_checkpoint(tiny_checkpoint, "sam_tiny", model_dir, name="mine")
    after = {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()}
    assert after == before


def test_replaces_an_installed_model(tiny_checkpoint: Path, model_dir: Path) -> None:
    (model_dir / "mine" / "left-over").write_text("old")
    import_checkpoint(tiny_checkpoint, "sam_tiny", model_dir, name="mine")
    assert [path.name for path in model_dir.iterdir()] == ["mine"]
    assert not (model_dir / "mine" / "left-over").exists()


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("sam_vit_b", 93_735_728), ("sam_tiny", 238_092)],
)
def test_networks_have_the_size_of_metas(variant: str, parameters: int) -> None:
    """Counts of the state dicts of segment-anything 1.0 (the Fourier matrix included)."""
    slots = find_slots(SegmentAnything(VARIANTS[variant]))
    assert sum(int(np.prod(slot.stored_shape)) for slot in slots.values()) == parameters
