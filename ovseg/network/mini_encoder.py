"""The image encoder of `sam_mini` in PaddlePaddle: `training/encoder.py` with BatchNorm folded in.

    [B, 3, S, S] normalised pixels  ->  [B, 256, S/8, S/8] embedding

Every layer is a convolution with a bias, so its parameters carry the names and the layout of the
weights file, where they stand under `image_encoder.`: nothing is renamed or transposed.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

STAGE_WIDTHS = (48, 96, 160, 224)  # channels at strides 4, 8, 16, 32
STAGE_DEPTHS = (1, 2, 3, 2)  # residual blocks at these strides
PYRAMID_WIDTH = 128
EMBEDDING_WIDTH = 256
STRIDE = 8


class Conv(nn.Layer):
    """Convolution with 'same' padding; its parameters are `conv.weight` and `conv.bias`."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(c_in, c_out, kernel, stride, kernel // 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        return self.conv(x)


class Block(nn.Layer):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width, 3)
        self.second = Conv(width, width, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, width, H, W] -> the same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


def twice_as_large(x: paddle.Tensor) -> paddle.Tensor:
    """Nearest-neighbour upsampling by 2: [B, C, H, W] -> [B, C, 2H, 2W].

    Not `F.interpolate`: Paddle Inference 3.3.1 cannot run its nearest mode through oneDNN.
    """
    _, channels, height, width = x.shape
    x = x.reshape([-1, channels, height, 1, width, 1])
    x = x.expand([-1, channels, height, 2, width, 2])
    return x.reshape([-1, channels, 2 * height, 2 * width])


class MiniImageEncoder(nn.Layer):
    """Strides 2 to 32 bottom-up, then top-down to stride 8."""

    def __init__(self) -> None:
        super().__init__()
        c4, c8, c16, c32 = STAGE_WIDTHS
        self.stem = Conv(3, 32, 3, 2)
        self.downs = nn.LayerList(
            [Conv(a, b, 3, 2) for a, b in ((32, c4), (c4, c8), (c8, c16), (c16, c32))]
        )
        self.stages = nn.LayerList(
            [
                nn.Sequential(*[Block(width) for _ in range(depth)])
                for width, depth in zip(STAGE_WIDTHS, STAGE_DEPTHS, strict=True)
            ]
        )
        self.laterals = nn.LayerList([Conv(width, PYRAMID_WIDTH, 1) for width in (c8, c16, c32)])
        self.smooth16 = Conv(PYRAMID_WIDTH, PYRAMID_WIDTH, 3)
        self.smooth8 = Conv(PYRAMID_WIDTH, PYRAMID_WIDTH, 3)
        self.project = nn.Conv2D(PYRAMID_WIDTH, EMBEDDING_WIDTH, 1)

    def forward(self, pixel_values: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, S, S] normalised float32 -> [B, 256, S/8, S/8]; S is a multiple of 32."""
        x2 = F.relu(self.stem(pixel_values))
        x4 = self.stages[0](F.relu(self.downs[0](x2)))
        x8 = self.stages[1](F.relu(self.downs[1](x4)))
        x16 = self.stages[2](F.relu(self.downs[2](x8)))
        x32 = self.stages[3](F.relu(self.downs[3](x16)))
        top = self.laterals[2](x32)
        top = self.laterals[1](x16) + twice_as_large(top)
        top = F.relu(self.smooth16(F.relu(top)))
        top = self.laterals[0](x8) + twice_as_large(top)
        return self.project(F.relu(self.smooth8(F.relu(top))))
