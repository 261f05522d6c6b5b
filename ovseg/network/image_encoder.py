"""SAM's image encoder: a plain vision transformer with windowed and global attention.

Sources: "Exploring Plain Vision Transformer Backbones for Object Detection" (arXiv:2203.16527)
for the backbone, "MViTv2" (arXiv:2112.01526) for decomposed relative positions, "Segment
Anything" (arXiv:2304.02643, appendix A) for the neck and the sizes; parameter names and shapes
as in facebookresearch/segment-anything, `modeling/image_encoder.py`.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from ovseg.network.layers import FeedForward, LayerNorm2d
from ovseg.network.variants import VitConfig

LAYER_NORM_EPSILON = 1e-6
MLP_RATIO = 4
GLOBAL_HEAD_GROUPS = 2
"""Global attention is computed for a part of the heads after another: less is alive at once."""


class RelativePositionAttention(nn.Layer):
    """Multi-head self-attention on a square grid, global or within square windows.

    Decomposed relative positions add `q·Rh[row_q - row_k] + q·Rw[col_q - col_k]` to the score of
    query q and key k. Instead of adding two broadcast tensors as large as the score matrix, the
    products with Rh and Rw become extra columns of the query, and the key gets the one-hot codes
    of its row and column: `[q*scale, q·Rh, q·Rw] · [k, onehot(row), onehot(col)]` is the same
    sum, computed by the one matrix product that is there anyway.

    Args:
        dim: channels of a token.
        num_heads: attention heads.
        grid_size: side of the grid of tokens.
        window_size: side of a window; None for global attention.
    """

    def __init__(self, dim: int, num_heads: int, grid_size: int, window_size: int | None) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.grid_size = grid_size
        self.window_size = window_size
        self.area_size = size = window_size or grid_size
        """Side of the area within which tokens attend to each other."""
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = self.create_parameter([2 * size - 1, self.head_dim])
        self.rel_pos_w = self.create_parameter([2 * size - 1, self.head_dim])

        positions = np.arange(size)
        # offsets[i, j] is the row of a relative position table for query i and key j.
        offsets = positions[:, None] - positions[None, :] + size - 1
        self.register_buffer("offsets", paddle.to_tensor(offsets.ravel()), persistable=False)
        eye = np.eye(size, dtype=np.float32)
        key_codes = np.concatenate([np.repeat(eye, size, axis=0), np.tile(eye, (size, 1))], axis=1)
        self.register_buffer("key_codes", paddle.to_tensor(key_codes), persistable=False)

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        """[B, grid * grid, dim] -> [B, grid * grid, dim], tokens in row-major order."""
        qkv = paddle.matmul(tokens, self.qkv.weight)
        if self.window_size is not None:
            qkv = split_windows(qkv, self.grid_size, self.window_size)
        # After the padding of the windows: SAM projects padding tokens too, which are zero, so
        # that their query, key and value are this bias.
        qkv = qkv + self.qkv.bias
        attended = self._attend(qkv)
        if self.window_size is not None:
            attended = join_windows(attended, self.grid_size, self.window_size)
        return self.proj(attended)

    def _attend(self, qkv: paddle.Tensor) -> paddle.Tensor:
        """Attention within each area: [B', area * area, 3 * dim] -> [B', area * area, dim]."""
        parts = qkv.split(3, axis=-1)
        if self.window_size is not None:
            return self._attend_heads(*parts)
        query, key, value = (part.split(GLOBAL_HEAD_GROUPS, axis=-1) for part in parts)
        attended = [
            self._attend_heads(query[group], key[group], value[group])
            for group in range(GLOBAL_HEAD_GROUPS)
        ]
        return paddle.concat(attended, axis=-1)

    def _attend_heads(
        self, query: paddle.Tensor, key: paddle.Tensor, value: paddle.Tensor
    ) -> paddle.Tensor:
        """Attention of some heads: thrice [B', area * area, heads * head_dim] -> the same shape."""
        num_tokens, width = self.area_size**2, query.shape[-1]
        head_shape = [-1, num_tokens, width // self.head_dim, self.head_dim]
        # Each [B', heads, tokens, head_dim].
        query, key, value = (
            part.reshape(head_shape).transpose([0, 2, 1, 3]) for part in (query, key, value)
        )
        query = paddle.concat([query * self.head_dim**-0.5, self._position_scores(query)], axis=-1)
        # Adding zeros spreads the codes over the axes of batch (dynamic) and heads.
        key_codes = self.key_codes + paddle.zeros_like(key[..., :1])
        key = paddle.concat([key, key_codes], axis=-1)
        weights = nn.functional.softmax(paddle.matmul(query, key, transpose_y=True), axis=-1)
        attended = paddle.matmul(weights, value)
        return attended.transpose([0, 2, 1, 3]).reshape([-1, num_tokens, width])

    def _position_scores(self, query: paddle.Tensor) -> paddle.Tensor:
        """Scores of every query against each key row, then each key column.

        [B', heads, tokens, head_dim] -> [B', heads, tokens, 2 * area].
        """
        size, heads = self.area_size, query.shape[1]
        table_shape = [size, size, self.head_dim]
        row_table = paddle.gather(self.rel_pos_h, self.offsets).reshape(table_shape)
        column_table = paddle.gather(self.rel_pos_w, self.offsets).reshape(table_shape)

        grid = query.reshape([-1, size, size, self.head_dim])
        row_scores = paddle.matmul(grid, row_table, transpose_y=True)
        by_column = grid.transpose([0, 2, 1, 3])
        column_scores = paddle.matmul(by_column, column_table, transpose_y=True)
        scores = paddle.concat([row_scores, column_scores.transpose([0, 2, 1, 3])], axis=-1)
        return scores.reshape([-1, heads, size * size, 2 * size])


class TransformerBlock(nn.Layer):
    """Pre-norm transformer block; attention is global, or within windows of `window_size`."""

    def __init__(self, config: VitConfig, grid_size: int, window_size: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, epsilon=LAYER_NORM_EPSILON)
        self.attn = RelativePositionAttention(
            config.embed_dim, config.num_heads, grid_size, window_size
        )
        self.norm2 = nn.LayerNorm(config.embed_dim, epsilon=LAYER_NORM_EPSILON)
        self.mlp = FeedForward(config.embed_dim, MLP_RATIO * config.embed_dim, nn.GELU())

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        """[B, grid * grid, dim] -> [B, grid * grid, dim]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


def split_windows(tokens: paddle.Tensor, grid_size: int, window_size: int) -> paddle.Tensor:
    """Cut a grid into square windows: [B, grid * grid, C] -> [B * windows, window * window, C].

    The grid is padded with zeros, right and bottom, to a whole number of windows; as in SAM the
    padding takes part in attention.
    """
    channels = tokens.shape[-1]
    num_windows = -(-grid_size // window_size)
    padding = num_windows * window_size - grid_size
    grid = tokens.reshape([-1, grid_size, grid_size, channels])
    if padding:
        # Concatenated, because both of Paddle's pad operators break under oneDNN (3.3.1): with
        # NHWC data it leaves the default layout at NDHWC, with all axes named it crashes.
        grid = paddle.concat([grid, paddle.zeros_like(grid[:, :padding])], axis=1)
        grid = paddle.concat([grid, paddle.zeros_like(grid[:, :, :padding])], axis=2)
    # A row of a window, `window_size * channels` values, moves in one piece.
    strips = grid.reshape([-1, window_size, num_windows, window_size * channels])
    return strips.transpose([0, 2, 1, 3]).reshape([-1, window_size**2, channels])


def join_windows(windows: paddle.Tensor, grid_size: int, window_size: int) -> paddle.Tensor:
    """Undo `split_windows`: [B * windows, window * window, C] -> [B, grid * grid, C]."""
    channels = windows.shape[-1]
    num_windows = -(-grid_size // window_size)
    padded_size = num_windows * window_size
    strips = windows.reshape([-1, num_windows, window_size, window_size * channels])
    grid = strips.transpose([0, 2, 1, 3]).reshape([-1, padded_size, padded_size, channels])
    return grid[:, :grid_size, :grid_size].reshape([-1, grid_size**2, channels])


class PatchEmbedding(nn.Layer):
    """Non-overlapping patches, each projected to one token."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, H, W] -> [B, H / patch, W / patch, dim]."""
        return self.proj(image).transpose([0, 2, 3, 1])


class VitImageEncoder(nn.Layer):
    """Normalised image -> image embedding.

    Args:
        config: sizes of the transformer.
        input_size: side of the square input image, in pixels.
        embedding_channels: channels of the image embedding (256 in SAM).
    """

    def __init__(self, config: VitConfig, input_size: int, embedding_channels: int) -> None:
        super().__init__()
        self.embed_dim = config.embed_dim
        self.grid_size = input_size // config.patch_size
        self.patch_embed = PatchEmbedding(config.patch_size, config.embed_dim)
        self.pos_embed = self.create_parameter([1, self.grid_size, self.grid_size, self.embed_dim])
        self.blocks = nn.LayerList(
            [
                TransformerBlock(
                    config,
                    self.grid_size,
                    None if index in config.global_attention_blocks else config.window_size,
                )
                for index in range(config.depth)
            ]
        )
        self.neck = nn.Sequential(
            nn.Conv2D(self.embed_dim, embedding_channels, kernel_size=1, bias_attr=False),
            LayerNorm2d(embedding_channels),
            nn.Conv2D(
                embedding_channels, embedding_channels, kernel_size=3, padding=1, bias_attr=False
            ),
            LayerNorm2d(embedding_channels),
        )

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """FP32 [B, 3, S, S], normalised RGB -> FP32 [B, channels, grid, grid]."""
        size = self.grid_size
        tokens = self.patch_embed(image) + self.pos_embed
        tokens = tokens.reshape([-1, size * size, self.embed_dim])
        for block in self.blocks:
            tokens = block(tokens)
        grid = tokens.reshape([-1, size, size, self.embed_dim])
        return self.neck(grid.transpose([0, 3, 1, 2]))
