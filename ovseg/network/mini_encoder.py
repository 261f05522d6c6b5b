"""The image encoder of `sam_mini` in PaddlePaddle: `training/encoder.py` with BatchNorm folded in.

    [B, 3, S, S] normalised pixels  ->  [B, 256, S/8, S/8] embedding

EfficientNet-Lite2 (tensorflow/tpu, models/official/efficientnet/lite) and a top-down pathway. Every
layer is a convolution with a bias, so its parameters carry the names and the layout of the weights
file, where they stand under `image_encoder.`: nothing is renamed or transposed.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

STEM_WIDTH = 32
# kernel, stride, expansion, width, blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4),
    (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)
TAPPED_STAGES = (1, 2, 4, 6)  # the last at strides 4, 8, 16, 32
PYRAMID_WIDTH = 160
EMBEDDING_WIDTH = 256
STRIDE = 8


class Conv(nn.Layer):
    """Convolution with 'same' padding; its parameters are `conv.weight` and `conv.bias`."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(c_in, c_out, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        return self.conv(x)


class InvertedResidual(nn.Layer):
    """Widen by 1x1, convolve each channel, narrow by 1x1; with a residual where shapes agree."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = c_in * expansion
        self.expand = Conv(c_in, inner, 1) if expansion > 1 else None
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner)
        self.project = Conv(inner, c_out, 1)
        self.has_residual = stride == 1 and c_in == c_out

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        wide = x if self.expand is None else F.relu6(self.expand(x))
        narrow = self.project(F.relu6(self.depthwise(wide)))
        return x + narrow if self.has_residual else narrow


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
        self.stem = Conv(3, STEM_WIDTH, 3, 2)
        stages = []
        c_in = STEM_WIDTH
        for kernel, stride, expansion, width, depth in STAGES:
            blocks = []
            for index in range(depth):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(c_in, width, kernel, step, expansion))
                c_in = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.LayerList(stages)
        c4, c8, c16, c32 = (STAGES[index][3] for index in TAPPED_STAGES)
        self.detail = Conv(c4, PYRAMID_WIDTH, 3, 2)
        self.laterals = nn.LayerList([Conv(width, PYRAMID_WIDTH, 1) for width in (c8, c16, c32)])
        self.smooth32 = Conv(PYRAMID_WIDTH, PYRAMID_WIDTH, 3)
        self.smooth16 = Conv(PYRAMID_WIDTH, PYRAMID_WIDTH, 3)
        self.smooth8 = Block(PYRAMID_WIDTH)
        self.project = nn.Conv2D(PYRAMID_WIDTH, EMBEDDING_WIDTH, 1)

    def forward(self, pixel_values: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, S, S] normalised float32 -> [B, 256, S/8, S/8]; S is a multiple of 32."""
        x = F.relu6(self.stem(pixel_values))
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAPPED_STAGES:
                features.append(x)
        x4, x8, x16, x32 = features
        top = F.relu(self.smooth32(F.relu(self.laterals[2](x32))))
        top = self.laterals[1](x16) + twice_as_large(top)
        top = F.relu(self.smooth16(F.relu(top)))
        top = self.laterals[0](x8) + twice_as_large(top)
        return self.project(self.smooth8(F.relu(top + self.detail(x4))))
