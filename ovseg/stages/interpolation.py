"""Bilinear interpolation, bit for bit as PaddlePaddle computes it, and fast.

Masks are thresholded at 0, so two implementations that differ in the last bit of a logit differ
in pixels. The reference is Paddle's `interpolate(mode="bilinear", align_corners=False)` on the
CPU, which PaddleX uses (paddle/phi/kernels/cpu/interpolate_kernel.cc): float32 throughout, the
four products added in a fixed order, row positions computed in float64 and column positions in
float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


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

    def upright(self) -> Axis:
        """This axis with its arrays as columns, so that it broadcasts along rows."""
        return Axis(
            self.lower[:, None],
            self.upper[:, None],
            self.lower_weight[:, None],
            self.upper_weight[:, None],
        )


def _ratio(n_in: int, n_out: int) -> np.float32:
    # Paddle's own rule: a single output position reads the first input position, not the middle.
    return np.float32(n_in) / np.float32(n_out) if n_out > 1 else np.float32(0)


def resize(image: Floats, height: int, width: int) -> Floats:
    """All of `interpolate`: float32 [h, w] -> [height, width]."""
    rows = Axis.rows(image.shape[0], height).upright()
    columns = Axis.columns(image.shape[1], width)
    return _blend(image, rows, columns)


def two_step_at(
    low_res: Floats,
    side: int,
    input_size: tuple[int, int],
    original_size: tuple[int, int],
    rows: Indices,
    columns: Indices,
) -> Floats:
    """SAM's two-step upsampling at some pixels of the original image only.

    Args:
        low_res: float32 [h, w], a low-res mask's logits.
        side: the model's input size; low_res is first upsampled to [side, side].
        input_size: (height, width) of the valid part, to which the result is cropped.
        original_size: (height, width) to which the crop is upsampled.
        rows, columns: int64 [K], the pixels wanted.

    Returns:
        float32 [K] logits, bit for bit what upsampling everything would give there.
    """
    first_rows = Axis.rows(low_res.shape[0], side)
    first_columns = Axis.columns(low_res.shape[1], side)
    outer_rows = Axis.rows(input_size[0], original_size[0]).at(rows)
    outer_columns = Axis.columns(input_size[1], original_size[1]).at(columns)

    def upsampled(row: Indices, column: Indices) -> Floats:
        return _blend(low_res, first_rows.at(row), first_columns.at(column))

    return _weighted_sum(
        upsampled(outer_rows.lower, outer_columns.lower),
        upsampled(outer_rows.upper, outer_columns.lower),
        upsampled(outer_rows.lower, outer_columns.upper),
        upsampled(outer_rows.upper, outer_columns.upper),
        outer_rows,
        outer_columns,
    )


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
