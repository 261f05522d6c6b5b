"""The image encoder of `sam_mini`: a small residual network with a top-down pathway.

    [B, 3, S, S] normalised pixels  ->  [B, 256, S/8, S/8] embedding

While training, every convolution is followed by BatchNorm. `fold` returns the same network with the
normalisation folded into the convolutions; that form is what `sam_mini.safetensors` holds and what
`ovseg/network/mini_encoder.py` mirrors name for name.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

STAGE_WIDTHS = (48, 96, 160, 224)  # channels at strides 4, 8, 16, 32
STAGE_DEPTHS = (1, 2, 3, 2)  # residual blocks at these strides
PYRAMID_WIDTH = 128
EMBEDDING_WIDTH = 256


class ConvNorm(nn.Module):
    """Convolution with 'same' padding, then BatchNorm unless it was folded away."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, folded: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=folded)
        self.norm = nn.Identity() if folded else nn.BatchNorm2d(c_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        return self.norm(self.conv(x))


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
        c4, c8, c16, c32 = STAGE_WIDTHS
        self.stem = ConvNorm(3, 32, 3, 2, folded)
        self.downs = nn.ModuleList(
            ConvNorm(a, b, 3, 2, folded) for a, b in ((32, c4), (c4, c8), (c8, c16), (c16, c32))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, folded) for _ in range(depth)))
            for width, depth in zip(STAGE_WIDTHS, STAGE_DEPTHS, strict=True)
        )
        self.laterals = nn.ModuleList(
            ConvNorm(width, PYRAMID_WIDTH, 1, 1, folded) for width in (c8, c16, c32)
        )
        self.smooth16 = ConvNorm(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, 1, folded)
        self.smooth8 = ConvNorm(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, 1, folded)
        self.project = nn.Conv2d(PYRAMID_WIDTH, EMBEDDING_WIDTH, 1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] normalised float32 -> [B, 256, S/8, S/8]."""
        x = F.relu(self.stem(pixel_values))
        features = []
        for down, stage in zip(self.downs, self.stages, strict=True):
            x = stage(F.relu(down(x)))
            features.append(x)
        _, x8, x16, x32 = features
        top = self.laterals[2](x32)
        top = self.laterals[1](x16) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        top = F.relu(self.smooth16(F.relu(top)))
        top = self.laterals[0](x8) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        return self.project(F.relu(self.smooth8(F.relu(top))))


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
