"""SAM's two bilinear upsamplings, bit for bit as PaddlePaddle computes them, at some pixels.

Masks are thresholded at 0, so two implementations that differ in the last bit of a logit differ
in pixels. The reference is Paddle's `interpolate(mode="bilinear", align_corners=False)` on the
CPU, which PaddleX uses (paddle/phi/kernels/cpu/interpolate_kernel.cc): float32 throughout, the
four products added in a fixed order, row positions computed in float64 and column positions in
float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.interpolation_axis import Axis, Floats, Indices, TwoStepAxis

# Tiles are computed together as long as their pixels stay in a core's cache.
BATCH_PIXELS = 1 << 16

ROUNDING_ERROR = 4e-6
"""Of `TwoStep.nearly_within`, as a share of the largest cell; about four times the worst case."""

CERTAINLY_NOT_ZERO = np.float32(1e-30)
"""A product of four weights and a smaller logit could be 0 in float32."""


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
            low_res_size[0],
            Axis.rows(low_res_size[0], side),
            Axis.rows(input_size[0], original_size[0]),
        )
        self.columns = TwoStepAxis(
            low_res_size[1],
            Axis.columns(low_res_size[1], side),
            Axis.columns(input_size[1], original_size[1]),
        )

    @cached_property
    def cell_counts(self) -> Indices:
        """How many cells each tile reads: int64 [row segments, column segments]."""
        rows, columns = self.rows.segments, self.columns.segments
        return np.outer(rows.end_cell - rows.first_cell, columns.end_cell - columns.first_cell)

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

    def batches(self, tiles: NDArray[np.bool_]) -> Iterator[tuple[Indices, Indices]]:
        """The row and column segments of the tiles that are set, as many as fit a cache at once.

        Args:
            tiles: bool [row segments, column segments].
        """
        row_segments, column_segments = np.nonzero(tiles)
        step = max(1, BATCH_PIXELS // (self.rows.windows.size * self.columns.windows.size))
        for first in range(0, len(row_segments), step):
            yield row_segments[first : first + step], column_segments[first : first + step]

    def nearly_within(
        self, low_res: Floats, row_segments: Indices, column_segments: Indices
    ) -> tuple[Floats, Floats]:
        """The upsampled logits of the windows around tiles, but for rounding.

        Both steps are linear and treat rows and columns alike, so together they are one matrix
        product from each side.

        Args:
            low_res: float32 [h, w], a low-res mask's logits.
            row_segments, column_segments: int64 [T], the tiles.

        Returns:
            Logits, float32 [T, columns, rows] of the two windows, transposed; and how far each of
            a tile's may be off, float32 [T].
        """
        rows, columns = self.rows.windows, self.columns.windows
        cell_rows = rows.first_cell[row_segments, None] + np.arange(rows.cell_count)
        cell_columns = columns.first_cell[column_segments, None] + np.arange(columns.cell_count)
        cells = low_res[cell_rows[:, None, :], cell_columns[:, :, None]]
        logits: Floats = (
            columns.weights[column_segments] @ cells @ rows.weights[row_segments].transpose(0, 2, 1)
        )
        error = np.float32(ROUNDING_ERROR) * np.abs(cells).max(axis=(1, 2))
        return logits, np.maximum(error, CERTAINLY_NOT_ZERO)


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
