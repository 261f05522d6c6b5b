"""What a source is follows from its content, and whatever is wrong with it is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import (
    CheckpointError,
    MissingKeyError,
    UnknownVariantError,
    UnreadableCheckpointError,
)
from ovseg.checkpoints.hugging_face import FOURIER_MATRIX, FOURIER_MATRIX_AGAIN
from ovseg.checkpoints.importing import import_checkpoint
from ovseg.checkpoints.recognising import Layout
from ovseg.checkpoints.state_dict import check_state_dict, find_slots
from ovseg.checkpoints.stored_tensor import StoredTensor
from ovseg.checkpoints.weights import Weights, open_weights
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.variants import VARIANTS

State = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def hugging_face_folder(golden_folder: Path) -> Path:
    """A small SamModel, saved by transformers."""
    return golden_folder / "sam_tiny_hugging_face"


@pytest.fixture(scope="module")
def hugging_face_state(hugging_face_folder: Path) -> State:
    return dict(load_file(hugging_face_folder / "model.safetensors"))


@pytest.fixture
def make_folder(tmp_path: Path, hugging_face_folder: Path) -> Callable[[dict[str, State]], Path]:
    """A model folder with the real config.json and these weight files."""

    def make(files: dict[str, State]) -> Path:
        folder = tmp_path / "folder"
        folder.mkdir()
        shutil.copy(hugging_face_folder / "config.json", folder)
        for name, state in files.items():
            save_file(state, folder / name)
        return folder

    return make


def assert_fits(weights: Weights, variant: str) -> None:
    """The weights fill the whole network of a variant."""
    assert weights.variant.name == variant
    slots = weights.named_slots(find_slots(SegmentAnything(weights.variant)))
    check_state_dict(slots, weights.tensors, "it", variant)


def shapes_only(shapes: dict[str, tuple[int, ...]]) -> dict[str, StoredTensor]:
    return {key: StoredTensor(shape, lambda: np.zeros(0)) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", ["sam.pth", "sam.safetensors", "pytorch_model.bin", "sam"])
def test_metas_file_may_have_any_name(tiny_checkpoint: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(tiny_checkpoint, tmp_path / name))
    weights = open_weights(path)
    assert weights.layout is Layout.META
    assert_fits(weights, "sam_tiny")


@pytest.mark.parametrize("prefix", ["module.", "model.", "sam."])
def test_wrapped_networks(tiny_checkpoint: Path, tmp_path: Path, prefix: str) -> None:
    tensors = read_checkpoint(tiny_checkpoint)
    path = tmp_path / "wrapped.safetensors"
    save_file({prefix + key: tensor.read() for key, tensor in tensors.items()}, path)
    assert_fits(open_weights(path), "sam_tiny")


@pytest.mark.parametrize("name", ["model.safetensors", "hugging.pth", "hugging"])
def test_hugging_face_file_may_have_any_name(
    hugging_face_folder: Path, tmp_path: Path, name: str
) -> None:
    path = Path(shutil.copy(hugging_face_folder / "model.safetensors", tmp_path / name))
    weights = open_weights(path)
    assert weights.layout is Layout.HUGGING_FACE
    assert_fits(weights, "sam_tiny")


def test_hugging_face_folder(hugging_face_folder: Path) -> None:
    weights = open_weights(hugging_face_folder)
    assert weights.files == (hugging_face_folder / "model.safetensors",)
    assert_fits(weights, "sam_tiny")


def test_hugging_face_folder_of_shards(
    make_folder: Callable[[dict[str, State]], Path], hugging_face_state: State
) -> None:
    names = sorted(hugging_face_state)
    shards = {
        "model-00001-of-00002.safetensors": {key: hugging_face_state[key] for key in names[:90]},
        "model-00002-of-00002.safetensors": {key: hugging_face_state[key] for key in names[90:]},
    }
    folder = make_folder(shards)
    weight_map = {key: file for file, shard in shards.items() for key in shard}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = open_weights(folder)
    assert [file.name for file in weights.files] == sorted(shards)
    assert_fits(weights, "sam_tiny")

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingKeyError, match="lacks model-00002-of-00002"):
        open_weights(folder)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", 5])
def test_an_index_cannot_point_elsewhere(
    make_folder: Callable[[dict[str, State]], Path], shard: object
) -> None:
    folder = make_folder({})
    index = {"weight_map": {"vision_encoder.pos_embed": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableCheckpointError, match="no usable weight_map"):
        open_weights(folder)


@pytest.mark.parametrize("places", [(FOURIER_MATRIX,), (FOURIER_MATRIX_AGAIN,), (0, 1)])
def test_the_fourier_matrix_may_be_in_either_place(
    make_folder: Callable[[dict[str, State]], Path],
    hugging_face_state: State,
    places: tuple[object, ...],
) -> None:
    state = dict(hugging_face_state)
    matrix = state.pop(FOURIER_MATRIX)
    both = (FOURIER_MATRIX, FOURIER_MATRIX_AGAIN)
    for place in both if places == (0, 1) else places:
        state[str(place)] = matrix
    weights = open_weights(make_folder({"pytorch_model.bin": state}))
    assert_fits(weights, "sam_tiny")
    assert (weights.tensors[FOURIER_MATRIX].read() == matrix).all()


def test_messages_use_the_names_of_the_file(
    make_folder: Callable[[dict[str, State]], Path], hugging_face_state: State, tmp_path: Path
) -> None:
    state = dict(hugging_face_state)
    del state["mask_decoder.upscale_conv2.bias"]
    folder = make_folder({"model.safetensors": state})
    with pytest.raises(MissingKeyError) as error:
        import_checkpoint(folder, None, tmp_path / "models")
    assert str(error.value) == (
        "folder lacks mask_decoder.upscale_conv2.bias; is it a sam_tiny checkpoint?"
    )
    assert not (tmp_path / "models").exists()


def test_half_precision_is_recorded(
    make_folder: Callable[[dict[str, State]], Path], hugging_face_state: State
) -> None:
    state: State = {key: value.astype(np.float16) for key, value in hugging_face_state.items()}
    weights = open_weights(make_folder({"model.safetensors": state}))
    assert weights.dtypes == ("float16",)


@pytest.mark.parametrize("model_type", ["sam2", "sam_hq", None])
def test_folders_of_other_models(
    make_folder: Callable[[dict[str, State]], Path], model_type: str | None
) -> None:
    folder = make_folder({"model.safetensors": {}})
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(CheckpointError, match=f"describes a {model_type!r}, not a sam"):
        open_weights(folder)


def test_folders_without_weights(
    make_folder: Callable[[dict[str, State]], Path], tmp_path: Path
) -> None:
    with pytest.raises(UnreadableCheckpointError, match="no weights"):
        open_weights(make_folder({}))
    with pytest.raises(UnreadableCheckpointError, match=r"neither a Hugging Face model .* nor"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("image_encoder.trunk.patch_embed.proj.weight", "is SAM 2, which is not supported"),
        ("mask_decoder.hf_token.weight", "is SAM-HQ, which is not supported"),
        ("text.embed_tokens.weight", "holds no SAM model .* text.embed_tokens.weight"),
    ],
)
def test_other_networks(tmp_path: Path, key: str, message: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(UnknownVariantError, match=message) as error:
        open_weights(path)
    assert "\n" not in str(error.value)


def test_an_image_encoder_of_unknown_size(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    state = {
        "image_encoder.pos_embed": np.zeros((1, 64, 64, 8), np.float32),
        "image_encoder.blocks.0.attn.qkv.weight": np.zeros((24, 8), np.float32),
        "image_encoder.neck.2.weight": np.zeros((256, 256, 3, 3), np.float32),
    }
    save_file(state, path)
    with pytest.raises(UnknownVariantError, match="1 blocks of 8 channels on a grid of 64 x 64"):
        open_weights(path)


@pytest.mark.parametrize("variant", ["sam_vit_h", "sam_vit_l", "sam_vit_b", "sam_tiny", "sam_mini"])
def test_every_variant_is_recognised_in_metas_layout(variant: str) -> None:
    """Without building the large networks: only the tensors that tell them apart."""
    from ovseg.checkpoints.recognising import recognise_layout, recognise_variant

    config = VARIANTS[variant]
    if variant == "sam_mini":
        tensors = shapes_only({"image_encoder.stem.conv.weight": (32, 3, 3, 3)})
    else:
        sizes = config.image_encoder
        assert not isinstance(sizes, type(VARIANTS["sam_mini"].image_encoder))
        width, depth = sizes.embed_dim, sizes.depth  # type: ignore[union-attr]
        tensors = shapes_only(
            {
                "image_encoder.pos_embed": (1, 64, 64, width),
                "image_encoder.neck.2.weight": (config.embedding_channels,) * 2 + (3, 3),
                **{
                    f"image_encoder.blocks.{block}.attn.qkv.weight": (3 * width, width)
                    for block in range(depth)
                },
            }
        )
    layout = recognise_layout(tensors, "it")
    assert recognise_variant(tensors, layout, "it").name == variant
