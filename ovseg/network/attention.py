"""The mask decoder's attention, arranged for few tokens and many cells.

Source: "Segment Anything" (arXiv:2304.02643, appendix A, "Lightweight mask decoder"); parameter
names and shapes as in facebookresearch/segment-anything, `modeling/transformer.py`.

Shapes: N prompts, T tokens of a prompt, G cells of the image embedding, C channels, H heads,
D channels of a head.
"""

from __future__ import annotations

import math

import paddle
from paddle import nn


class Attention(nn.Layer):
    """Multi-head attention with separate inputs, in `channels // reduction` channels."""

    def __init__(self, channels: int, num_heads: int, reduction: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.num_heads = num_heads
        self.head_dim = channels // reduction // num_heads
        inner = channels // reduction
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(
        self, query: paddle.Tensor, key: paddle.Tensor, value: paddle.Tensor
    ) -> paddle.Tensor:
        """[N, Q, C], [N, K, C], [N, K, C] -> [N, Q, C]."""
        query = self.split_heads(self.q_proj(query))
        key = self.split_heads(self.k_proj(key))
        value = self.split_heads(self.v_proj(value))
        scores = paddle.matmul(query, key, transpose_y=True) / math.sqrt(self.head_dim)
        attended = paddle.matmul(nn.functional.softmax(scores, axis=-1), value)
        return self.out_proj(self.join_heads(attended))

    def split_heads(self, features: paddle.Tensor) -> paddle.Tensor:
        """[N, K, H * D] -> [N, H, K, D]."""
        return features.reshape([0, 0, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])

    def join_heads(self, features: paddle.Tensor) -> paddle.Tensor:
        """[N, H, K, D] -> [N, K, H * D]."""
        return features.transpose([0, 2, 1, 3]).flatten(start_axis=2)


class CrossAttention(Attention):
    """Attention between few tokens and many cells, without projecting a cell.

    For one head, the score of a token q and a cell x is (q Wq + bq) · (x Wk + bk), which is
    x · ((q Wq + bq) Wk^T) and a constant for each token; and the sum of cells' values
    Σ a (x Wv + bv) is (Σ a x) Wv + bv, because the weights a add up to 1. So a token's query (or
    key, or value) is carried through the cells' weights once for each head, into all C channels,
    and meets the cells as they are: T * H columns of C numbers, instead of projecting G cells.

    Scores are [N, G, T * H], a token's heads together: both products with them are then those
    that matrix libraries do best, and a softmax over tokens works on vectors of heads.
    """

    def carry(self, heads: paddle.Tensor, cell_weight: paddle.Tensor) -> paddle.Tensor:
        """Tokens' [N, H, T, D] through the cells' [C, H * D], head by head: [N, H, T, C]."""
        return paddle.matmul(heads, self.heads_of(cell_weight).transpose([0, 1, 3, 2]))

    def widen(self, features: paddle.Tensor, cell_weight: paddle.Tensor) -> paddle.Tensor:
        """The same of tokens' [N, T, H * D], a token's heads together: [N, T * H, C]."""
        wide = self.carry(self.split_heads(features), cell_weight)
        return wide.transpose([0, 2, 1, 3]).reshape([0, -1, self.channels])

    def heads_of(self, weight: paddle.Tensor) -> paddle.Tensor:
        """[C, H * D] -> [1, H, C, D]; Paddle with oneDNN multiplies 4-D by 4-D only."""
        return weight.reshape([1, self.channels, self.num_heads, self.head_dim]).transpose(
            [0, 2, 1, 3]
        )


def cancels_out(parameter: str) -> bool:
    """Whether a checkpoint's parameter has no effect, and so is in no program.

    A key's bias adds the same to a token's scores of all cells, which the softmax ignores.
    """
    return parameter.endswith("token_to_image.k_proj.bias")


class TokensToCells(CrossAttention):
    """The tokens look at the cells."""

    def forward(
        self, tokens: paddle.Tensor, placed_cells: paddle.Tensor, cells: paddle.Tensor
    ) -> paddle.Tensor:
        """Tokens [N, T, C], cells with and without positions [N or 1, G, C] -> [N, T, C]."""
        query = self.q_proj(tokens) / math.sqrt(self.head_dim)
        # Without the bias of the keys, see `cancels_out`.
        wide = self.widen(query, self.k_proj.weight)
        scores = paddle.matmul(placed_cells, wide, transpose_y=True)
        attention = nn.functional.softmax(scores, axis=1)
        attended = paddle.matmul(attention, cells, transpose_x=True)
        attended = attended.reshape([0, -1, self.num_heads, self.channels])
        attended = paddle.matmul(
            attended.transpose([0, 2, 1, 3]), self.heads_of(self.v_proj.weight)
        )
        return self.out_proj(self.join_heads(attended) + self.v_proj.bias)


class CellsToTokens(CrossAttention):
    """The cells look at the tokens."""

    def forward(
        self, placed_cells: paddle.Tensor, placed_tokens: paddle.Tensor, tokens: paddle.Tensor
    ) -> paddle.Tensor:
        """Cells [N or 1, G, C], tokens with and without positions [N, T, C] -> [N, G, C]."""
        key = self.k_proj(placed_tokens) / math.sqrt(self.head_dim)
        wide = self.widen(key, self.q_proj.weight)
        bias = (key * self.q_proj.bias).reshape([0, -1, self.num_heads, self.head_dim]).sum(-1)
        scores = paddle.matmul(placed_cells, wide, transpose_y=True)
        scores = scores + bias.flatten(start_axis=1).unsqueeze(1)
        cell_count = placed_cells.shape[1]
        scores = scores.reshape([0, cell_count, -1, self.num_heads])
        attention = nn.functional.softmax(scores, axis=2).flatten(start_axis=2)
        wide_value = self.widen(self.v_proj(tokens), self.out_proj.weight.t())
        return paddle.matmul(attention, wide_value) + self.out_proj.bias
