"""SAM's two bilinear upsamplings, bit for bit as PaddlePaddle computes them, at some pixels.

Masks are thresholded at 0, so two implementations that differ in the last bit of a logit differ
in pixels. The reference is Paddle's `interpolate(mode="bilinear", align_corners=False)` on the
CPU, which PaddleX uses (paddle/phi/kernels/cpu/interpolate_kernel.cc): float32 throughout, the
four products added in a fixed order, row positions computed in float64 and column positions in
float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

SEGMENT_CELLS = 16
SEGMENT_PIXELS = 512

ROUNDING_ERROR = 4e-6
"""Of `TwoStep.nearly_within`, as a share of the largest cell; about four times the worst case."""


@dataclass(frozen=True)
class Axis:
    """Where each output position of one axis reads from, and with which weights.

    Attributes:
        lower, upper: int64 [n_out], the two input positions.
        lower_weight, upper_weight: float32 [n_out].
    """

    lower: Indices
    upper: Indices
    lower_weight: Floats
    upper_weight: Floats

    @classmethod
    def rows(cls, n_in: int, n_out: int) -> Axis:
        """The vertical axis: positions in float64."""
        ratio = np.float64(_ratio(n_in, n_out))
        return cls._from_positions(ratio * (np.arange(n_out) + 0.5) - 0.5, n_in)

    @classmethod
    def columns(cls, n_in: int, n_out: int) -> Axis:
        """The horizontal axis: positions in float32."""
        ratio = _ratio(n_in, n_out)
        half = np.float32(0.5)
        return cls._from_positions(ratio * (np.arange(n_out, dtype=np.float32) + half) - half, n_in)

    @classmethod
    def _from_positions(cls, positions: NDArray[np.floating[Any]], n_in: int) -> Axis:
        lower = np.maximum(positions.astype(np.int64), 0)
        upper = np.minimum(lower + 1, n_in - 1)
        position = np.maximum(positions.astype(np.float32), np.float32(0))
        upper_weight: Floats = position - lower.astype(np.float32)
        lower_weight: Floats = np.float32(1) - upper_weight
        return cls(lower, upper, lower_weight, upper_weight)

    def at(self, index: Indices) -> Axis:
        """This axis at some of its output positions only."""
        return Axis(
            self.lower[index],
            self.upper[index],
            self.lower_weight[index],
            self.upper_weight[index],
        )


def _ratio(n_in: int, n_out: int) -> np.float32:
    # Paddle's own rule: a single output position reads the first input position, not the middle.
    return np.float32(n_in) / np.float32(n_out) if n_out > 1 else np.float32(0)


@dataclass(frozen=True)
class Segments:
    """Stretches of one axis of the output, and the low-res cells that each of them reads.

    Attributes:
        start, stop: int64 [K], the stretches of output positions; together they are all of them.
        first_cell, end_cell: int64 [K], the cells; a few of them are read by two stretches.
    """

    start: Indices
    stop: Indices
    first_cell: Indices
    end_cell: Indices


class TwoStepAxis:
    """One axis of low-res cells -> the model's padded input -> crop -> the original image.

    Args:
        inner: from the cells to the padded input.
        outer: from the crop to the original.
    """

    def __init__(self, inner: Axis, outer: Axis) -> None:
        self.inner = inner
        self.outer = outer
        self.segments = self._cut()
        # Of one image's segments all fit; a long thin image has very many.
        self.weights = lru_cache(maxsize=256)(self._weights)

    def _cut(self) -> Segments:
        # Both are in ascending order, like the positions.
        first_cell = self.inner.lower[self.outer.lower]
        last_cell = self.inner.upper[self.outer.upper]
        n_out = len(first_cell)
        is_start = np.zeros(n_out, np.bool_)
        is_start[np.searchsorted(first_cell, np.arange(0, first_cell[-1] + 1, SEGMENT_CELLS))] = (
            True
        )
        is_start[::SEGMENT_PIXELS] = True
        start = np.flatnonzero(is_start)
        stop = np.append(start[1:], n_out)
        return Segments(start, stop, first_cell[start], last_cell[stop - 1] + 1)

    def _weights(self, segment: int) -> Floats:
        """How much each output position of a segment takes of each of its cells: float32 [n, k]."""
        start, stop, first_cell, end_cell = (
            int(bounds[segment])
            for bounds in (
                self.segments.start,
                self.segments.stop,
                self.segments.first_cell,
                self.segments.end_cell,
            )
        )
        outer = self.outer.at(np.arange(start, stop))
        weights = np.zeros((stop - start, end_cell - first_cell))
        row = np.arange(stop - start)
        for position, outer_weight in (
            (outer.lower, outer.lower_weight),
            (outer.upper, outer.upper_weight),
        ):
            inner = self.inner.at(position)
            for cell, inner_weight in (
                (inner.lower, inner.lower_weight),
                (inner.upper, inner.upper_weight),
            ):
                weights[row, cell - first_cell] += outer_weight.astype(np.float64) * inner_weight
        return weights.astype(np.float32)


class TwoStep:
    """SAM's two-step upsampling for images of one size.

    Args:
        low_res_size: (height, width) of low-res masks.
        side: the model's input size; low-res masks are first upsampled to [side, side].
        input_size: (height, width) of the valid part, to which the result is cropped.
        original_size: (height, width) to which the crop is upsampled.
    """

    def __init__(
        self,
        low_res_size: tuple[int, int],
        side: int,
        input_size: tuple[int, int],
        original_size: tuple[int, int],
    ) -> None:
        self.original_size = original_size
        self.rows = TwoStepAxis(
            Axis.rows(low_res_size[0], side), Axis.rows(input_size[0], original_size[0])
        )
        self.columns = TwoStepAxis(
            Axis.columns(low_res_size[1], side), Axis.columns(input_size[1], original_size[1])
        )

    def exactly_at(self, low_res: Floats, rows: Indices, columns: Indices) -> Floats:
        """The upsampled logits at some pixels, bit for bit what upsampling everything would give.

        Args:
            low_res: float32 [h, w], a low-res mask's logits.
            rows, columns: int64 [K], the pixels wanted, of the original image.

        Returns:
            float32 [K].
        """
        outer_rows, outer_columns = self.rows.outer.at(rows), self.columns.outer.at(columns)

        def upsampled(row: Indices, column: Indices) -> Floats:
            return _blend(low_res, self.rows.inner.at(row), self.columns.inner.at(column))

        return _weighted_sum(
            upsampled(outer_rows.lower, outer_columns.lower),
            upsampled(outer_rows.upper, outer_columns.lower),
            upsampled(outer_rows.lower, outer_columns.upper),
            upsampled(outer_rows.upper, outer_columns.upper),
            outer_rows,
            outer_columns,
        )

    def nearly_within(self, low_res: Floats, row_segment: int, column_segment: int) -> Floats:
        """The upsampled logits of a tile, but for rounding; `ROUNDING_ERROR` bounds it.

        Both steps are linear and treat rows and columns alike, so together they are one matrix
        product from each side.

        Returns:
            float32 [columns, rows] of the two segments, transposed.
        """
        cells = self.cells(low_res, row_segment, column_segment)
        weights = self.columns.weights(column_segment) @ cells.T
        logits: Floats = weights @ self.rows.weights(row_segment).T
        return logits

    def cells(self, low_res: Floats, row_segment: int, column_segment: int) -> Floats:
        """The low-res cells that a tile reads; a view."""
        rows, columns = self.rows.segments, self.columns.segments
        return low_res[
            rows.first_cell[row_segment] : rows.end_cell[row_segment],
            columns.first_cell[column_segment] : columns.end_cell[column_segment],
        ]


def _blend(image: Floats, rows: Axis, columns: Axis) -> Floats:
    return _weighted_sum(
        image[rows.lower, columns.lower],
        image[rows.upper, columns.lower],
        image[rows.lower, columns.upper],
        image[rows.upper, columns.upper],
        rows,
        columns,
    )


def _weighted_sum(
    upper_left: Floats,
    lower_left: Floats,
    upper_right: Floats,
    lower_right: Floats,
    rows: Axis,
    columns: Axis,
) -> Floats:
    # The order of the additions and of the two multiplications is Paddle's; it decides last bits.
    total = upper_left * rows.lower_weight * columns.lower_weight
    total += lower_left * rows.upper_weight * columns.lower_weight
    total += upper_right * rows.lower_weight * columns.upper_weight
    total += lower_right * rows.upper_weight * columns.upper_weight
    return total
