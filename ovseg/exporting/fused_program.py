"""The network in the form of PaddleX's inference models: image and prompts in one program.

Source of the form: PaddleX 3.7.2, `SAMProcessor` (what it feeds and what it expects back).
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.static import InputSpec

from ovseg.manifest import PromptKind
from ovseg.network.mask_decoder import ComputedCells
from ovseg.network.prompt_encoder import PADDING_LABEL
from ovseg.network.segment_anything import SegmentAnything

BOX_LABELS = (2, 3)  # top-left and bottom-right corner


class FusedProgram(nn.Layer):
    """Normalised image and prompts of one kind -> one low-resolution mask for each prompt."""

    def __init__(self, network: SegmentAnything, kind: PromptKind) -> None:
        super().__init__()
        self.variant = network.variant
        self.kind = kind
        self.image_encoder = network.image_encoder
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder
        self.register_buffer("grid_positions", network.prompt_encoder.grid_positions().detach())
        self.register_buffer("box_labels", paddle.to_tensor([BOX_LABELS], dtype="int32"))
        self.register_buffer("padding", paddle.zeros([1, 1, 2]))
        self.register_buffer("mask_index", paddle.zeros([1], dtype="int32"))
        self.register_buffer("padding_label", paddle.full([1, 1], PADDING_LABEL, "int32"))

    def forward(self, images: paddle.Tensor, prompts: paddle.Tensor) -> paddle.Tensor:
        """Segment what the prompts mark in one image.

        Args:
            images: FP32 [1, 3, S, S], RGB, normalised, then padded right and bottom with zeros.
            prompts: in pixels of the model's input frame: boxes FP32 [N, 4] (x0, y0, x1, y1), or
                foreground points of one object FP32 [1, P, 2] (x, y).

        Returns:
            FP32 [N, 1, 4 * grid, 4 * grid], logits; N is 1 for points.
        """
        if self.kind == "box":
            # With a static number of corners, Paddle Inference 3.3.1 runs `sin` of the position
            # encoding in place, on what `cos` still reads: let it stay unknown to the graph.
            coords = prompts.reshape([prompts.shape[0], -1, 2])
            labels = self.box_labels
        else:
            # As everywhere in SAM, prompts without a box end in a padding point.
            coords = paddle.concat([prompts, self.padding], axis=1)
            foreground = paddle.ones_like(prompts[:, :, 0], dtype="int32")
            labels = paddle.concat([foreground, self.padding_label], axis=1)
        tokens = self.prompt_encoder.encode_points(coords, labels)
        cells = self.image_encoder(images).flatten(start_axis=2).transpose([0, 2, 1])
        cells = cells + self.prompt_encoder.no_mask()
        masks, _ = self.mask_decoder(
            ComputedCells(cells, self.grid_positions), tokens, self.mask_index
        )
        return masks

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the program's inputs; PaddleX feeds them in this order."""
        side = self.variant.input_size
        prompt_shape = [None, 4] if self.kind == "box" else [1, None, 2]
        return [
            InputSpec([None, 3, side, side], "float32", "images"),
            InputSpec(prompt_shape, "float32", "prompts"),
        ]
