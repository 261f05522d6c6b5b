"""The terms of an image: what `LowRankCells` multiplies tokens with, whatever the prompt.

All of them are products of the image embedding with matrices that the weights decide, and the
squared lengths of its projections. A level's y is the level's before, centred and multiplied by
the layer norm's weight, so that a matrix that y is multiplied with becomes one for the embedding.

Shapes as in `attention.py`. There is a level before each of B blocks, and one after the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import paddle

from ovseg.network.mask_decoder import MaskDecoder, TwoWayTransformer, split_weight


class ImageTerms(NamedTuple):
    """The terms by how they are used, each in the order in which it is."""

    placed: paddle.Tensor
    """[1, 2 * H * D, G], of the cells with positions before the first block: keys and queries."""
    columns: paddle.Tensor
    """[1, K, G], of the levels in turn: keys and queries, then what norms take of each change."""
    values: paddle.Tensor
    """[1, (B + 1) * H, G, D], of the levels in turn: values."""
    pixels: paddle.Tensor
    """[1, G, C], of the last level: its first product in the upscaling."""
    squares: paddle.Tensor
    """[1, B, G], the squared length of each level's centred y."""


def centred(vectors: paddle.Tensor, axis: int = -1) -> paddle.Tensor:
    """Vectors less their mean."""
    return vectors - vectors.mean(axis=axis, keepdim=True)


def image_terms(decoder: MaskDecoder, cells: paddle.Tensor, positions: paddle.Tensor) -> ImageTerms:
    """Of cells FP32 [1, G, C], the image embedding plus the dense map, and their positions."""
    transformer = decoder.transformer
    blocks = list(transformer.layers)
    columns, values, squares = [], [], []
    y = cells
    for level, block in enumerate(blocks):
        seen, seeing = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        values.append(_of_embedding(transformer, level, seen.v_proj.weight))
        if level:
            for weight in (seen.k_proj.weight, seeing.q_proj.weight):
                columns.append(_of_embedding(transformer, level, weight))
        for earlier in range(level + 1):
            rows = _rows_of_change(transformer, earlier)
            for between in blocks[earlier:level]:
                rows = between.norm4.weight.unsqueeze(-1) * centred(rows, axis=0)
            columns.append(_of_embedding(transformer, level, centred(rows, axis=0)))
        y = centred(y)
        squares.append((y * y).sum(-1))
        y = y * block.norm4.weight
    last, seen = len(blocks), transformer.final_attn_token_to_image
    columns.append(_of_embedding(transformer, last, seen.k_proj.weight))
    values.append(_of_embedding(transformer, last, seen.v_proj.weight))
    pixels = _of_embedding(transformer, last, split_weight(decoder.output_upscaling[0]))
    placed = [
        blocks[0].cross_attn_token_to_image.k_proj.weight,
        blocks[0].cross_attn_image_to_token.q_proj.weight,
    ]
    heads = seen.num_heads * len(values)
    return ImageTerms(
        placed=_cells_last(cells + positions, placed),
        columns=_cells_last(cells, columns),
        values=paddle.matmul(cells, paddle.concat(values, axis=-1))
        .reshape([1, cells.shape[1], heads, seen.head_dim])
        .transpose([0, 2, 1, 3]),
        pixels=paddle.matmul(cells, pixels),
        squares=paddle.stack(squares, axis=1),
    )


def position_terms(transformer: TwoWayTransformer, positions: paddle.Tensor) -> paddle.Tensor:
    """The same of cells' positions [1, G, C], for the levels after the first: [1, K, G]."""
    weights = []
    for block in list(transformer.layers)[1:]:
        weights.append(block.cross_attn_token_to_image.k_proj.weight)
        weights.append(block.cross_attn_image_to_token.q_proj.weight)
    weights.append(transformer.final_attn_token_to_image.k_proj.weight)
    return _cells_last(positions, weights)


def _of_embedding(
    transformer: TwoWayTransformer, level: int, matrix: paddle.Tensor
) -> paddle.Tensor:
    """What the embedding is to be multiplied with, for what y of a level is: [C, K] -> [C, K]."""
    for block in reversed(list(transformer.layers)[:level]):
        matrix = centred(block.norm4.weight.unsqueeze(-1) * matrix, axis=0)
    return matrix


def _rows_of_change(transformer: TwoWayTransformer, level: int) -> paddle.Tensor:
    """What a level's change makes rows of, and its own row: [C, H * D + 1]."""
    projection = transformer.layers[level].cross_attn_image_to_token.out_proj
    row = projection.bias
    if level:
        row = row + transformer.layers[level - 1].norm4.bias
    return paddle.concat([projection.weight.t(), row.unsqueeze(-1)], axis=-1)


def _cells_last(cells: paddle.Tensor, matrices: list[paddle.Tensor]) -> paddle.Tensor:
    """[1, G, C] times matrices [C, ...] side by side -> [1, K, G]."""
    matrix = paddle.concat(matrices, axis=-1).t().unsqueeze(0)
    return paddle.matmul(matrix, cells, transpose_y=True)


class TermReader:
    """Gives out an image's terms in the order of their use.

    Args:
        terms: the image's.
        positions: what `position_terms` gives.
        heads: H.
        head_dim: D.
    """

    def __init__(
        self, terms: ImageTerms, positions: paddle.Tensor, heads: int, head_dim: int
    ) -> None:
        self.pixels = terms.pixels
        self._heads, self._head_dim = heads, head_dim
        self._placed, self._columns = _Reader(terms.placed), _Reader(terms.columns)
        self._positions, self._squares = _Reader(positions), _Reader(terms.squares)
        self._values = _Reader(terms.values)

    def placed(self) -> paddle.Tensor:
        """Next keys or queries before the first block: [1, H, D, G]."""
        return self._in_heads(self._placed)

    def columns(self) -> paddle.Tensor:
        """Next of what meets tokens in heads: [1, H, D, G]."""
        return self._in_heads(self._columns)

    def positions(self) -> paddle.Tensor:
        """Next keys or queries of the positions: [1, H, D, G]."""
        return self._in_heads(self._positions)

    def column_of_row(self) -> paddle.Tensor:
        """Next of what meets a block's own row: [1, 1, G]."""
        return self._columns.take(1)

    def values(self) -> paddle.Tensor:
        """Next values: [1, H, G, D]."""
        return self._values.take(self._heads)

    def squares(self) -> paddle.Tensor:
        """Next squared lengths: [1, 1, G]."""
        return self._squares.take(1)

    def _in_heads(self, reader: _Reader) -> paddle.Tensor:
        term = reader.take(self._heads * self._head_dim)
        return term.reshape([1, self._heads, self._head_dim, term.shape[-1]])


@dataclass
class _Reader:
    """A tensor that is read from the front, along its second axis."""

    tensor: paddle.Tensor
    position: int = 0

    def take(self, count: int) -> paddle.Tensor:
        start, self.position = self.position, self.position + count
        return self.tensor[:, start : self.position]
