"""The network's configurations, by the variant names of this project.

`sam_vit_b`, `sam_vit_l` and `sam_vit_h` are Meta's models (facebookresearch/segment-anything,
`build_sam.py`); `mobile_sam` is MobileSAM (ChaoningZhang/MobileSAM, TinyViT-5M); `sam_mini` is the
bundled small model; `sam_tiny` exists for tests only.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class VitConfig:
    """Sizes of SAM's vision transformer."""

    embed_dim: int
    depth: int
    num_heads: int
    global_attention_blocks: tuple[int, ...]
    """Indices of the blocks that attend globally; the others attend within windows."""
    window_size: int = 14
    patch_size: int = 16


@dataclass(frozen=True)
class MiniConfig:
    """The small convolutional encoder of `sam_mini`; its sizes are fixed in its own module."""


@dataclass(frozen=True)
class TinyVitStage:
    """Sizes of one stage of TinyViT's window attention."""

    width: int
    depth: int
    num_heads: int
    window_size: int
    stride: int
    """Of the convolution that leads into the stage."""


@dataclass(frozen=True)
class TinyVitConfig:
    """Sizes of MobileSAM's TinyViT: a convolutional stage, then stages of window attention."""

    conv_width: int
    conv_depth: int
    stages: tuple[TinyVitStage, ...]


@dataclass(frozen=True)
class MaskDecoderConfig:
    """Sizes of the mask decoder."""

    transformer_depth: int = 2
    num_heads: int = 8
    mlp_dim: int = 2048
    iou_head_hidden_dim: int = 256
    num_masks: int = 4
    """Masks predicted for each prompt: the single mask, then the three multimask ones."""


@dataclass(frozen=True)
class Variant:
    """One configuration of the whole network."""

    name: str
    image_encoder: VitConfig | TinyVitConfig | MiniConfig
    input_size: int = 1024
    """Side of the square the image is resized and padded to, in pixels."""
    grid_size: int = 64
    """Side of the image embedding."""
    embedding_channels: int = 256
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks, in and out."""
        return 4 * self.grid_size

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image embedding.

        Channels last: the prompt decoder works on cells as rows, and turning them around would
        cost it a tenth of its time with each request.
        """
        return (self.grid_size, self.grid_size, self.embedding_channels)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("sam_vit_h", VitConfig(1280, 32, 16, (7, 15, 23, 31))),
        Variant("sam_vit_l", VitConfig(1024, 24, 16, (5, 11, 17, 23))),
        Variant("sam_vit_b", VitConfig(768, 12, 12, (2, 5, 8, 11))),
        Variant(
            "mobile_sam",
            TinyVitConfig(
                conv_width=64,
                conv_depth=2,
                stages=(
                    TinyVitStage(128, depth=2, num_heads=4, window_size=7, stride=2),
                    TinyVitStage(160, depth=6, num_heads=5, window_size=14, stride=2),
                    TinyVitStage(320, depth=2, num_heads=10, window_size=7, stride=1),
                ),
            ),
        ),
        Variant("sam_mini", MiniConfig(), input_size=512),
        Variant(
            "sam_tiny",
            VitConfig(32, 2, 2, (1,)),
            embedding_channels=32,
            mask_decoder=MaskDecoderConfig(mlp_dim=64, iou_head_hidden_dim=32),
        ),
    )
}
