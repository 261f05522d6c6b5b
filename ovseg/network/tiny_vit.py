"""MobileSAM's image encoder: TinyViT, whose last transition keeps the stride at 16.

    [B, 3, S, S] normalised pixels  ->  [B, 256, S/16, S/16] embedding

Sources: "TinyViT" (arXiv:2207.10666, section 3 and table 1) for the stages, "LeViT"
(arXiv:2104.01136, section 4.2) for attention biases, "Faster Segment Anything"
(arXiv:2306.14289) for its place in SAM; names and shapes as in ChaoningZhang/MobileSAM's
`mobile_sam.pt`. There every convolution of the trunk is followed by batch normalisation; here it
has a bias instead, which `ovseg/checkpoints/mobile_sam.py` computes on import.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from ovseg.network.image_encoder import join_windows, split_windows
from ovseg.network.layers import LayerNorm2d
from ovseg.network.variants import TinyVitConfig

MLP_RATIO = 4
EXPANSION = 4  # of a convolutional block's hidden channels
STEM_STRIDE = 4


def depthwise(channels: int, stride: int = 1) -> nn.Conv2D:
    """A 3 x 3 convolution of each channel by itself."""
    return nn.Conv2D(channels, channels, 3, stride, padding=1, groups=channels)


class ConvBlock(nn.Layer):
    """Inverted bottleneck with a residual: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.conv1 = nn.Conv2D(channels, hidden, 1)
        self.conv2 = depthwise(hidden)
        self.conv3 = nn.Conv2D(hidden, channels, 1)

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        hidden = nn.functional.gelu(self.conv1(features))
        hidden = nn.functional.gelu(self.conv2(hidden))
        return nn.functional.gelu(features + self.conv3(hidden))


class Transition(nn.Layer):
    """Between stages: [B, C, H, W] -> [B, C', H / stride, W / stride]."""

    def __init__(self, channels: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels, channels_out, 1)
        self.conv2 = depthwise(channels_out, stride)
        self.conv3 = nn.Conv2D(channels_out, channels_out, 1)

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        features = nn.functional.gelu(self.conv1(features))
        return self.conv3(nn.functional.gelu(self.conv2(features)))


class WindowAttention(nn.Layer):
    """Self-attention within a window, with a learned bias for each distance of two tokens.

    Args:
        dim: channels of a token.
        num_heads: attention heads.
        window_size: side of the square window.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.num_tokens = window_size**2
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        # One bias for each (|row distance|, |column distance|), in row-major order.
        self.attention_biases = self.create_parameter([num_heads, self.num_tokens])
        rows, columns = np.divmod(np.arange(self.num_tokens), window_size)
        distances = np.abs(rows[:, None] - rows) * window_size + np.abs(columns[:, None] - columns)
        self.register_buffer("distances", paddle.to_tensor(distances.ravel()), persistable=False)

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        """[B', window * window, dim] -> the same shape; B' counts windows."""
        # Each head's query, key and value lie together.
        qkv = self.qkv(self.norm(tokens))
        qkv = qkv.reshape([-1, self.num_tokens, self.num_heads, 3 * self.head_dim])
        query, key, value = qkv.transpose([0, 2, 1, 3]).split(3, axis=-1)
        biases = paddle.index_select(self.attention_biases, self.distances, axis=1)
        biases = biases.reshape([1, self.num_heads, self.num_tokens, self.num_tokens])
        scores = paddle.matmul(query * self.head_dim**-0.5, key, transpose_y=True) + biases
        attended = paddle.matmul(nn.functional.softmax(scores, axis=-1), value)
        attended = attended.transpose([0, 2, 1, 3]).reshape([-1, self.num_tokens, self.dim])
        return self.proj(attended)


class NormedFeedForward(nn.Layer):
    """Layer norm and a two-layer perceptron, [..., dim] -> [..., dim]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(self.norm(tokens))))


class WindowBlock(nn.Layer):
    """Attention within windows, a depthwise convolution across them, a perceptron."""

    def __init__(self, dim: int, num_heads: int, window_size: int, grid_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.window_size = window_size
        self.grid_size = grid_size
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.local_conv = depthwise(dim)
        self.mlp = NormedFeedForward(dim)

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        """[B, grid * grid, dim] -> the same shape."""
        size = self.grid_size
        # The padding of the last windows takes part in attention, as in TinyViT.
        windows = self.attn(split_windows(tokens, size, self.window_size))
        tokens = tokens + join_windows(windows, size, self.window_size)
        grid = tokens.transpose([0, 2, 1]).reshape([-1, self.dim, size, size])
        tokens = self.local_conv(grid).flatten(start_axis=2).transpose([0, 2, 1])
        return tokens + self.mlp(tokens)


class ConvStage(nn.Layer):
    """The first stage: convolutional blocks, then the transition to the next stage."""

    def __init__(self, channels: int, depth: int, transition: Transition) -> None:
        super().__init__()
        self.blocks = nn.LayerList([ConvBlock(channels) for _ in range(depth)])
        self.downsample = transition

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        for block in self.blocks:
            features = block(features)
        return self.downsample(features)


class WindowStage(nn.Layer):
    """Window blocks on one grid, then the transition to the next stage, if there is one."""

    def __init__(self, blocks: list[WindowBlock], transition: Transition | None) -> None:
        super().__init__()
        self.dim = blocks[0].dim
        self.grid_size = blocks[0].grid_size
        self.blocks = nn.LayerList(blocks)
        self.downsample = transition

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        """[B, C, grid, grid] -> [B, C', grid', grid']."""
        tokens = features.flatten(start_axis=2).transpose([0, 2, 1])
        for block in self.blocks:
            tokens = block(tokens)
        size = self.grid_size
        features = tokens.transpose([0, 2, 1]).reshape([-1, self.dim, size, size])
        return features if self.downsample is None else self.downsample(features)


class Stem(nn.Layer):
    """[B, 3, S, S] -> [B, C, S / 4, S / 4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            nn.Conv2D(3, channels // 2, 3, 2, padding=1),
            nn.GELU(),
            nn.Conv2D(channels // 2, channels, 3, 2, padding=1),
        )

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return self.seq(image)


class TinyVitImageEncoder(nn.Layer):
    """Normalised image -> image embedding.

    Args:
        config: sizes of the stages.
        input_size: side of the square input image, in pixels.
        embedding_channels: channels of the image embedding (256 in SAM).
    """

    def __init__(self, config: TinyVitConfig, input_size: int, embedding_channels: int) -> None:
        super().__init__()
        widths = (config.conv_width, *(stage.width for stage in config.stages))
        transitions = [
            Transition(channels, stage.width, stage.stride)
            for channels, stage in zip(widths, config.stages, strict=False)
        ]
        self.patch_embed = Stem(config.conv_width)
        stages: list[nn.Layer] = [
            ConvStage(config.conv_width, config.conv_depth, transition=transitions[0])
        ]
        grid_size = input_size // STEM_STRIDE
        for stage, transition in zip(config.stages, [*transitions[1:], None], strict=True):
            grid_size //= stage.stride
            blocks = [
                WindowBlock(stage.width, stage.num_heads, stage.window_size, grid_size)
                for _ in range(stage.depth)
            ]
            stages.append(WindowStage(blocks, transition))
        self.layers = nn.LayerList(stages)
        self.neck = nn.Sequential(
            nn.Conv2D(widths[-1], embedding_channels, kernel_size=1, bias_attr=False),
            LayerNorm2d(embedding_channels),
            nn.Conv2D(
                embedding_channels, embedding_channels, kernel_size=3, padding=1, bias_attr=False
            ),
            LayerNorm2d(embedding_channels),
        )

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """FP32 [B, 3, S, S], normalised RGB -> FP32 [B, channels, S / 16, S / 16]."""
        features = self.patch_embed(image)
        for stage in self.layers:
            features = stage(features)
        return self.neck(features)
