"""One axis of SAM's two bilinear upsamplings: what each output position reads, and how much.

As Paddle computes it; see `interpolation.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# At most, whichever is less. Smaller tiles are more, larger ones hold more that is no outline.
SEGMENT_CELLS = 12
SEGMENT_PIXELS = 48


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


@dataclass(frozen=True)
class Windows:
    """The segments of an axis, all widened to one length, so that many are computed at once.

    Window k holds segment k, and more of the output before or after it.

    Attributes:
        start: int64 [K], the first output position of each.
        first_cell: int64 [K], the first low-res cell of those that each reads.
        weights: float32 [K, n, k], how much each of the n output positions takes of each of the
            k cells; in float64, until all is added up.
    """

    start: Indices
    first_cell: Indices
    weights: Floats

    @property
    def size(self) -> int:
        """Output positions of a window."""
        return self.weights.shape[1]

    @property
    def cell_count(self) -> int:
        """Cells that a window reads."""
        return self.weights.shape[2]


class TwoStepAxis:
    """One axis of low-res cells -> the model's padded input -> crop -> the original image.

    Args:
        n_cells: low-res cells.
        inner: from the cells to the padded input.
        outer: from the crop to the original.

    Attributes:
        segments, windows: K parts of the output, without and with overlap.
        is_own: bool [K, n], which positions of window k are in segment k.
    """

    def __init__(self, n_cells: int, inner: Axis, outer: Axis) -> None:
        self.inner = inner
        self.outer = outer
        # Both are in ascending order, like the positions.
        first_cell, last_cell = inner.lower[outer.lower], inner.upper[outer.upper]
        self.segments = _cut(first_cell, last_cell)
        n_out = len(first_cell)
        size = int((self.segments.stop - self.segments.start).max())
        start = np.minimum(self.segments.start, n_out - size)
        cell_count = int((last_cell[start + size - 1] - first_cell[start]).max()) + 1
        first_cell = np.minimum(first_cell[start], n_cells - cell_count)
        weights = self._weights(start[:, None] + np.arange(size), first_cell, cell_count)
        self.windows = Windows(start, first_cell, weights)
        before = (self.segments.start - start)[:, None]
        after = (self.segments.stop - start)[:, None]
        self.is_own = (before <= np.arange(size)) & (np.arange(size) < after)

    def _weights(self, positions: Indices, first_cell: Indices, cell_count: int) -> Floats:
        weights = np.zeros((*positions.shape, cell_count))
        window, row = np.indices(positions.shape)
        outer = self.outer.at(positions)
        for position, outer_weight in (
            (outer.lower, outer.lower_weight),
            (outer.upper, outer.upper_weight),
        ):
            inner = self.inner.at(position)
            for cell, inner_weight in (
                (inner.lower, inner.lower_weight),
                (inner.upper, inner.upper_weight),
            ):
                column = cell - first_cell[:, None]
                weights[window, row, column] += outer_weight.astype(np.float64) * inner_weight
        return weights.astype(np.float32)


def _cut(first_cell: Indices, last_cell: Indices) -> Segments:
    """Segments of output positions, which read cells from the first to the last, both ascending."""
    n_out, n_cells = len(first_cell), int(last_cell[-1]) + 1
    length = min(SEGMENT_PIXELS, math.ceil(n_out * SEGMENT_CELLS / n_cells))
    start = np.arange(0, n_out, length)
    stop = np.minimum(start + length, n_out)
    return Segments(start, stop, first_cell[start], last_cell[stop - 1] + 1)
