"""What a set of weights is, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ovseg.checkpoints.errors import MissingKeyError, UnknownVariantError, WrongShapeError
from ovseg.checkpoints.stored_tensor import StoredTensor
from ovseg.network.variants import VARIANTS, MiniConfig, TinyVitConfig, Variant, VitConfig

Shapes = Mapping[str, StoredTensor]


class Layout(Enum):
    """Who names the tensors; the value is for people."""

    META = "Meta's segment-anything"
    HUGGING_FACE = "Hugging Face's SamModel"
    MOBILE_SAM = "MobileSAM"
    MINI = "sam_mini"


@dataclass(frozen=True)
class _EncoderNames:
    """Where a vision transformer keeps its tensors in a layout."""

    positions: str
    blocks: str
    last_conv: str


# A tensor that is in every checkpoint of a layout, and in no other's.
_MARKS = {
    "image_encoder.blocks.0.attn.qkv.weight": Layout.META,
    "vision_encoder.layers.0.attn.qkv.weight": Layout.HUGGING_FACE,
    "image_encoder.layers.0.blocks.0.conv1.c.weight": Layout.MOBILE_SAM,
    "image_encoder.stem.conv.weight": Layout.MINI,
}
_VIT_NAMES = {
    Layout.META: _EncoderNames(
        "image_encoder.pos_embed", "image_encoder.blocks.", "image_encoder.neck.2.weight"
    ),
    Layout.HUGGING_FACE: _EncoderNames(
        "vision_encoder.pos_embed", "vision_encoder.layers.", "vision_encoder.neck.conv2.weight"
    ),
}
# Models that are close enough to SAM to be mistaken for it.
_RELATIVES = {
    "image_encoder.trunk.": "SAM 2",
    "vision_encoder.backbone.": "SAM 2 or later",
    "mask_decoder.hf_token.": "SAM-HQ",
}


def recognise_layout(tensors: Shapes, source: str) -> Layout:
    """Whose names the tensors have.

    Raises:
        UnknownVariantError: they are not SAM's in any known layout; one line that says so.
    """
    for prefix, relative in _RELATIVES.items():
        if any(key.startswith(prefix) for key in tensors):
            raise UnknownVariantError(f"{source} is {relative}, which is not supported")
    for mark, layout in _MARKS.items():
        if mark in tensors:
            return layout
    examples = ", ".join(list(tensors)[:3]) or "none"
    raise UnknownVariantError(
        f"{source} holds no SAM model in a known layout "
        f"({'; '.join(layout.value for layout in Layout)}); its first tensors: {examples}"
    )


def recognise_variant(tensors: Shapes, layout: Layout, source: str) -> Variant:
    """Which configuration of the network the tensors are for.

    Raises:
        UnknownVariantError: the image encoder is of no known size; one line with its sizes.
        MissingKeyError, WrongShapeError: a tensor that tells the size is missing or of no use.
    """
    if layout in (Layout.MOBILE_SAM, Layout.MINI):
        kind = TinyVitConfig if layout is Layout.MOBILE_SAM else MiniConfig
        return next(v for v in VARIANTS.values() if isinstance(v.image_encoder, kind))
    names = _VIT_NAMES[layout]
    blocks = {
        key.removeprefix(names.blocks).partition(".")[0]
        for key in tensors
        if key.startswith(names.blocks)
    }
    grid_size, width = _shape(tensors, names.positions, source)[-2:]
    channels = _shape(tensors, names.last_conv, source)[0]
    for variant in VARIANTS.values():
        config = variant.image_encoder
        if isinstance(config, VitConfig) and (
            (config.embed_dim, config.depth, variant.grid_size, variant.embedding_channels)
            == (width, len(blocks), grid_size, channels)
        ):
            return variant
    raise UnknownVariantError(
        f"{source} has an image encoder of {len(blocks)} blocks of {width} channels on a grid of "
        f"{grid_size} x {grid_size}, with {channels} channels out, which is no known variant "
        f"({', '.join(VARIANTS)})"
    )


def _shape(tensors: Shapes, key: str, source: str) -> tuple[int, ...]:
    """The shape of a tensor that has four dimensions."""
    if key not in tensors:
        raise MissingKeyError(f"{source} lacks {key}")
    shape = tensors[key].shape
    if len(shape) != 4:
        raise WrongShapeError(f"{source} has {key} of shape {list(shape)}, not of 4 dimensions")
    return shape
