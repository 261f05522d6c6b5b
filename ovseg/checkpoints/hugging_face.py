"""Hugging Face's SamModel: its folders, and its names for the network's parameters.

Names as in huggingface/transformers, `models/sam/modeling_sam.py`. Layouts of the tensors are the
same as Meta's, so only names differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import CheckpointError, MissingKeyError, UnreadableCheckpointError
from ovseg.checkpoints.stored_tensor import StoredTensor

CONFIG_FILE_NAME = "config.json"
INDEX_SUFFIX = ".index.json"
WEIGHT_FILE_NAMES = (
    "model.safetensors",
    f"model.safetensors{INDEX_SUFFIX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX_SUFFIX}",
)
"""In the order in which transformers looks for them."""

# The Fourier matrix is one parameter that the model holds in two places; files have either or both.
FOURIER_MATRIX = "shared_image_embedding.positional_embedding"
FOURIER_MATRIX_AGAIN = "prompt_encoder.shared_embedding.positional_embedding"

_PERCEPTRON = r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))"
# From Meta's names to Hugging Face's; each applies to the result of those before it.
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", FOURIER_MATRIX),
        (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
        (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
        (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
        (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
        (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
        (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
        (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
        (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
        (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
        (rf"{_PERCEPTRON}\.layers\.0\.", r"\1.proj_in."),
        (rf"{_PERCEPTRON}\.layers\.1\.", r"\1.layers.0."),
        (rf"{_PERCEPTRON}\.layers\.2\.", r"\1.proj_out."),
        (r"^image_encoder\.", "vision_encoder."),
        (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
        (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
        (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
        (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
        (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
        (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
        (r"\.norm([1-4]|_final_attn)\.", lambda m: f".layer_norm{m[1]}."),
    )
)


def hugging_face_key(key: str) -> str:
    """SamModel's name of the parameter that Meta's checkpoints call `key`."""
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key


def without_repetition(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """A file's tensors with the Fourier matrix in one place."""
    remaining = dict(tensors)
    again = remaining.pop(FOURIER_MATRIX_AGAIN, None)
    if again is not None:
        remaining.setdefault(FOURIER_MATRIX, again)
    return remaining


def is_model_folder(folder: Path) -> bool:
    """Whether a folder holds a model as `save_pretrained` writes it, whatever the model is."""
    return (folder / CONFIG_FILE_NAME).is_file()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model folder's weights.

    Raises:
        UnreadableCheckpointError: there are none, or the index of a sharded model is damaged.
        CheckpointError: `config.json` says that the model is not SAM.
    """
    model_type = _read_json(folder / CONFIG_FILE_NAME).get("model_type")
    if model_type != "sam":
        raise CheckpointError(f"{folder / CONFIG_FILE_NAME} describes a {model_type!r}, not a sam")
    for file_name in WEIGHT_FILE_NAMES:
        path = folder / file_name
        if path.is_file():
            return _shards(path) if file_name.endswith(INDEX_SUFFIX) else [path]
    raise UnreadableCheckpointError(
        f"{folder} has a {CONFIG_FILE_NAME} but no weights ({', '.join(WEIGHT_FILE_NAMES)})"
    )


def read_shards(files: list[Path]) -> dict[str, StoredTensor]:
    """The tensors of all files.

    Raises:
        CheckpointError: a file cannot be read, or two have a tensor of the same name.
    """
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        shard = read_checkpoint(file)
        repeated = tensors.keys() & shard.keys()
        if repeated:
            raise UnreadableCheckpointError(f"{file.name} repeats {min(repeated)}")
        tensors |= shard
    return tensors


def _shards(index: Path) -> list[Path]:
    """The files that the index of a sharded model names."""
    weight_map = _read_json(index).get("weight_map")
    names = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise UnreadableCheckpointError(f"{index} has no usable weight_map")
    shards = [index.parent / name for name in names]
    for shard in shards:
        if not shard.is_file():
            raise MissingKeyError(f"{index.parent} lacks {shard.name}, which {index.name} names")
    return shards


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableCheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UnreadableCheckpointError(f"{path} does not hold a JSON object")
    return content
