"""SAM's prompt encoder: points, box corners and mask inputs become tokens and a dense map.

Sources: "Segment Anything" (arXiv:2304.02643, section 3 and appendix A), "Fourier Features Let
Networks Learn High Frequency Functions" (arXiv:2006.10739) for the positional encoding; parameter
names and shapes as in facebookresearch/segment-anything, `modeling/prompt_encoder.py`.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
from paddle import nn

from ovseg.network.layers import LayerNorm2d

NUM_POINT_KINDS = 4  # background, foreground, box's top-left corner, box's bottom-right corner
PADDING_LABEL = -1
MASK_HIDDEN_CHANNELS = 16


class FourierPositionEncoding(nn.Layer):
    """Position in the unit square -> sines and cosines of random projections of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer(
            "positional_encoding_gaussian_matrix", paddle.zeros([2, channels // 2])
        )

    def forward(self, positions: paddle.Tensor) -> paddle.Tensor:
        """FP32 [..., 2], (x, y) in 0..1 -> FP32 [..., channels]."""
        centred = 2.0 * positions - 1.0
        angles = paddle.matmul(centred, self.positional_encoding_gaussian_matrix) * (2.0 * math.pi)
        return paddle.concat([paddle.sin(angles), paddle.cos(angles)], axis=-1)


class PromptEncoder(nn.Layer):
    """Prompts -> sparse tokens (points, corners) and a dense map (mask input).

    Args:
        channels: the embedding's channels.
        grid_size: side of the image embedding.
        input_size: side of the model's input image, in pixels; the frame of the coordinates.
    """

    def __init__(self, channels: int, grid_size: int, input_size: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.input_size = input_size
        self.pe_layer = FourierPositionEncoding(channels)
        self.point_embeddings = nn.LayerList(
            [nn.Embedding(1, channels) for _ in range(NUM_POINT_KINDS)]
        )
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.no_mask_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2D(1, MASK_HIDDEN_CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(MASK_HIDDEN_CHANNELS // 4),
            nn.GELU(),
            nn.Conv2D(MASK_HIDDEN_CHANNELS // 4, MASK_HIDDEN_CHANNELS, kernel_size=2, stride=2),
            LayerNorm2d(MASK_HIDDEN_CHANNELS),
            nn.GELU(),
            nn.Conv2D(MASK_HIDDEN_CHANNELS, channels, kernel_size=1),
        )

    def encode_points(self, coords: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """Tokens of points and box corners.

        Args:
            coords: FP32 [N, P, 2], (x, y) in pixels of the model's input frame; pixel centres
                are at half-integers, so 0.5 is added here.
            labels: INT32 [N, P]: 1 foreground, 0 background, 2 / 3 top-left / bottom-right corner
                of a box, -1 padding (its coordinates do not matter).

        Returns:
            FP32 [N, P, channels].
        """
        positions = self.pe_layer((coords + 0.5) / float(self.input_size))
        kinds = paddle.concat([embedding.weight for embedding in self.point_embeddings], axis=0)
        kind_tokens = nn.functional.embedding(labels.clip(min=0), kinds)
        is_padding = (labels == PADDING_LABEL).unsqueeze(-1)
        return paddle.where(is_padding, self.not_a_point_embed.weight, positions + kind_tokens)

    def encode_masks(self, masks: paddle.Tensor) -> paddle.Tensor:
        """Dense map of mask inputs, to be added to the image embedding.

        Args:
            masks: FP32 [N, 4 * grid, 4 * grid], logits of an earlier low-resolution mask.

        Returns:
            FP32 [N, grid, grid, channels].
        """
        return self.mask_downscaling(masks.unsqueeze(1)).transpose([0, 2, 3, 1])

    def no_mask(self) -> paddle.Tensor:
        """The dense map of prompts without a mask input, at any cell: FP32 [channels]."""
        return self.no_mask_embed.weight[0]

    def grid_positions(self) -> paddle.Tensor:
        """Positional encoding of the image embedding's cells: FP32 [1, grid * grid, channels]."""
        centres = (np.arange(self.grid_size, dtype=np.float32) + 0.5) / self.grid_size
        columns, rows = np.meshgrid(centres, centres)
        positions = np.stack([columns.ravel(), rows.ravel()], axis=-1)
        return self.pe_layer(paddle.to_tensor(positions)).unsqueeze(0)
