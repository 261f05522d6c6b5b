"""Cells that are not computed: the mask decoder for many prompts on one image.

A two-way block adds to the cells of the image embedding a product of rank T * H (tokens times
heads) and normalises them, and all that the decoder wants of the cells is linear in them: scores,
values, the first product of the upscaling. So at every level, before the first block and after
each, the cells are

    x = scale * (y + mix^T rows) + shift

with y [G, C] of the image alone; `scale` [G] and `mix` [J, G], a prompt's numbers of each cell;
`rows` [J, C], made of its tokens; and `shift` [C] of the weights alone. Their product with a matrix
W is scale * (y W + mix^T (rows W)) + shift W. There y W is a *term* of the image, the same for all
prompts, and the rest multiplies J = 57 or 114 numbers of a cell where there were C = 256. For
SAM's sizes that leaves 0.8 of 1.8 GFLOP of a prompt and costs 3.5 GFLOP once for an image.

A layer norm keeps this form. To subtract the mean is a projection, which y, the rows and the shift
go through; the squared length of what is left is a sum of products of the parts with each other,
and those with y are terms too. A term that meets the tokens of one head has that head's D columns.

Shapes as in `attention.py`. Cells are the last axis: a prompt's numbers of them are long vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import paddle
from paddle import nn

from ovseg.network.attention import CellsToTokens, CrossAttention, TokensToCells
from ovseg.network.image_terms import TermReader, centred
from ovseg.network.mask_decoder import Cells, split_weight


@dataclass(frozen=True)
class Change:
    """What one block adds to the cells: of each token and head a row, and a row of its own."""

    values: paddle.Tensor
    """[N, H, T, D], which the output projection makes rows of."""
    mix: paddle.Tensor
    """[N, H * T, G], how much of each of these rows a cell gets before it is scaled."""
    own: paddle.Tensor
    """[N, 1, G], how much of the block's own row."""


@dataclass(frozen=True)
class Changed:
    """A prompt's part of the cells; see the module."""

    changes: tuple[Change, ...]
    mix: paddle.Tensor
    """[N, J, G], of all changes."""
    rows: paddle.Tensor
    """[N, J, C]"""
    scale: paddle.Tensor
    """[N, 1, G]"""
    shift: paddle.Tensor
    """[C]"""


@dataclass(frozen=True)
class LowRankCells:
    """The cells at one level."""

    terms: TermReader
    changed: Changed | None = None
    """None before the first block, where the cells are the image's."""

    def seen_by(self, attention: TokensToCells, placed_tokens: paddle.Tensor) -> paddle.Tensor:
        """See `Cells.seen_by`."""
        query = attention.q_proj(placed_tokens) / math.sqrt(attention.head_dim)
        scores = self._scores(attention, attention.split_heads(query), attention.k_proj.weight)
        weights = nn.functional.softmax(scores, axis=-1)
        if self.changed:
            seen = self._changed_values(self.changed, attention, weights)
        else:
            seen = paddle.matmul(weights, self.terms.values())
        return attention.out_proj(attention.join_heads(seen) + attention.v_proj.bias)

    def after(
        self,
        attention: CellsToTokens,
        norm: nn.LayerNorm,
        placed_tokens: paddle.Tensor,
        tokens: paddle.Tensor,
    ) -> Cells:
        """See `Cells.after`."""
        key = attention.split_heads(attention.k_proj(placed_tokens) / math.sqrt(attention.head_dim))
        scores = self._scores(attention, key, attention.q_proj.weight)
        bias, own_row = attention.q_proj.bias, attention.out_proj.bias
        if self.changed:
            bias = bias + paddle.matmul(self.changed.shift, attention.q_proj.weight)
            own_row = own_row + self.changed.shift
        scores = scores + paddle.matmul(key, bias.reshape([1, attention.num_heads, -1, 1]))
        mix = nn.functional.softmax(scores, axis=2).flatten(1, 2)
        values = attention.split_heads(attention.v_proj(tokens))
        rows = attention.carry(values, attention.out_proj.weight.t()).flatten(1, 2)
        # Adding zeros spreads a row over the (dynamic) axis of prompts.
        rows = paddle.concat([rows, paddle.zeros_like(rows[:, :1]) + own_row], axis=1)
        own = paddle.ones_like(mix[:, :1])
        if self.changed:
            own = own / self.changed.scale
            mix = mix * own
        return LowRankCells(self.terms, self._normalised(norm, Change(values, mix, own), rows))

    def split(self, convolution: nn.Conv2DTranspose) -> paddle.Tensor:
        """See `Cells.split`."""
        changed, weight = self.changed, split_weight(convolution)
        assert changed is not None, "there is at least one block"
        # A shape between, or OpenVINO would have the product turn the matrix, which takes three
        # times as long.
        mix = changed.mix.transpose([0, 2, 1]).unsqueeze(0)
        of_rows = paddle.matmul(mix, paddle.matmul(changed.rows, weight).unsqueeze(0)).squeeze(0)
        shift = paddle.matmul(changed.shift, weight) + paddle.tile(convolution.bias, [4])
        scale = changed.scale.transpose([0, 2, 1])
        pixels = (self.terms.pixels + of_rows) * scale + shift
        return pixels.reshape([0, 4 * pixels.shape[1], convolution.weight.shape[1]])

    def _scores(
        self, attention: CrossAttention, heads: paddle.Tensor, weight: paddle.Tensor
    ) -> paddle.Tensor:
        """Products of [N, H, T, D] with the placed cells through [C, H * D]: [N, H, T, G].

        Without that of the shift, which is the same for all cells.
        """
        changed = self.changed
        if not changed:
            return paddle.matmul(heads, self.terms.placed())
        scores = paddle.matmul(heads, self.terms.columns())
        of_rows = paddle.matmul(
            attention.carry(heads, weight).flatten(1, 2), changed.rows, transpose_y=True
        )
        of_rows = paddle.matmul(of_rows, changed.mix)
        of_rows = of_rows.reshape([0, attention.num_heads, -1, scores.shape[-1]])
        scores = (scores + of_rows) * changed.scale.unsqueeze(1)
        return scores + paddle.matmul(heads, self.terms.positions())

    def _changed_values(
        self, changed: Changed, attention: CrossAttention, weights: paddle.Tensor
    ) -> paddle.Tensor:
        """Cells' values in heads, without bias, summed with [N, H, T, G]: [N, H, T, D]."""
        values = attention.heads_of(attention.v_proj.weight)
        shift = paddle.matmul(changed.shift.reshape([1, 1, 1, -1]), values)
        weights = weights * changed.scale.unsqueeze(1)
        seen = paddle.matmul(weights, self.terms.values())
        of_rows = paddle.matmul(weights.flatten(1, 2), changed.mix, transpose_y=True)
        of_rows = of_rows.reshape([0, attention.num_heads, -1, changed.mix.shape[1]])
        rows = paddle.matmul(changed.rows.unsqueeze(1), values)
        return seen + paddle.matmul(of_rows, rows) + shift

    def _normalised(self, norm: nn.LayerNorm, change: Change, rows: paddle.Tensor) -> Changed:
        """The layer norm of the cells with a further change, whose rows are [N, H * T + 1, C]."""
        changes: tuple[Change, ...] = (change,)
        if self.changed:
            changes = (*self.changed.changes, change)
            rows = paddle.concat([self.changed.rows, rows], axis=1)
        rows = centred(rows)
        mix = paddle.concat([part for one in changes for part in (one.mix, one.own)], axis=1)

        # The squared length of y + mix^T rows, centred: three sums of products.
        squares = self.terms.squares()
        for one in changes:
            products = paddle.matmul(one.values, self.terms.columns()).flatten(1, 2)
            of_values = (one.mix * products).sum(1, keepdim=True)
            squares = squares + 2 * (of_values + one.own * self.terms.column_of_row())
        products = paddle.matmul(paddle.matmul(rows, rows, transpose_y=True), mix)
        squares = squares + (mix * products).sum(1, keepdim=True)

        variance, scale = squares / rows.shape[-1], 1.0
        if self.changed:
            scale = self.changed.scale
            variance = variance * scale * scale
        scale = scale * paddle.rsqrt(variance + norm._epsilon)
        return Changed(changes, mix, rows * norm.weight, scale, norm.bias)
