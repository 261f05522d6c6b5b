"""The whole network of one variant, with the attribute names of Meta's checkpoints."""

from __future__ import annotations

from paddle import nn

from ovseg.network.image_encoder import VitImageEncoder
from ovseg.network.mask_decoder import MaskDecoder
from ovseg.network.prompt_encoder import PromptEncoder
from ovseg.network.variants import TinyVitConfig, Variant, VitConfig


class SegmentAnything(nn.Layer):
    """Image encoder, prompt encoder and mask decoder; `serving.py` makes programs of them."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.image_encoder = build_image_encoder(variant)
        self.prompt_encoder = PromptEncoder(
            variant.embedding_channels, variant.grid_size, variant.input_size
        )
        self.mask_decoder = MaskDecoder(
            variant.embedding_channels, variant.grid_size, variant.mask_decoder
        )


def build_image_encoder(variant: Variant) -> nn.Layer:
    """The variant's encoder: FP32 [B, 3, S, S], normalised -> FP32 [B, channels, grid, grid]."""
    if isinstance(variant.image_encoder, VitConfig):
        return VitImageEncoder(
            variant.image_encoder, variant.input_size, variant.embedding_channels
        )
    if isinstance(variant.image_encoder, TinyVitConfig):
        from ovseg.network.tiny_vit import TinyVitImageEncoder

        return TinyVitImageEncoder(
            variant.image_encoder, variant.input_size, variant.embedding_channels
        )
    from ovseg.network.mini_encoder import MiniImageEncoder

    return MiniImageEncoder()
