"""Low-res mask logits -> COCO RLE at the size of the original image.

Nothing of full size is computed where the answer is plain: all cells that a pixel is interpolated
from are in the mask, or none is. What is left are the tiles that the mask's outline goes through.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovseg.stages.image import input_size_of
from ovseg.stages.interpolation import CERTAINLY_NOT_ZERO, TwoStep

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """The part of a mask that holds all of it.

    Attributes:
        bits: bool [columns, rows + 2], transposed because RLE runs along columns; the first and
            the last row are background and lie outside.
        left, top: of its first column and row, in pixels of the image.
    """

    bits: NDArray[np.bool_]
    left: int
    top: int


@lru_cache(maxsize=8)
def two_step_of(
    low_res_size: tuple[int, int], side: int, original_size: tuple[int, int]
) -> TwoStep:
    """The upsampling of low-res masks to an image's size; remembered for the image's next mask."""
    return TwoStep(low_res_size, side, input_size_of(original_size, side), original_size)


def upsample_region(low_res_mask: Floats, two_step: TwoStep) -> Region:
    """Upsample one low-res mask and threshold it at 0, where it can be above.

    The result equals, bit for bit, PaddleX's two steps (bilinear to [side, side], crop to the
    image's part, bilinear to the original size, > 0): pixels whose logit is so near to 0 that
    rounding could decide are computed Paddle's way.

    Args:
        low_res_mask: float32 [h, w] logits (256 x 256 for SAM).
        two_step: for this mask's and the image's size.
    """
    is_used = count_in_tiles(low_res_mask > 0, two_step) > 0
    used_rows, used_columns = np.nonzero(is_used)
    if len(used_rows) == 0:
        return Region(np.zeros((0, 2), np.bool_), 0, 0)
    rows, columns = two_step.rows.windows, two_step.columns.windows
    top, bottom = int(rows.start[used_rows[0]]), int(rows.start[used_rows[-1]]) + rows.size
    left = int(columns.start[used_columns.min()])
    right = int(columns.start[used_columns.max()]) + columns.size
    bits = np.zeros((right - left, bottom - top + 2), np.bool_)

    is_full = count_in_tiles(low_res_mask > CERTAINLY_NOT_ZERO, two_step) == two_step.cell_counts
    row_segments, column_segments = two_step.rows.segments, two_step.columns.segments
    for i, j in np.argwhere(is_full).tolist():
        bits[
            column_segments.start[j] - left : column_segments.stop[j] - left,
            row_segments.start[i] - top + 1 : row_segments.stop[i] - top + 1,
        ] = True
    for i, j in two_step.batches(is_used & ~is_full):
        logits, error = two_step.nearly_within(low_res_mask, i, j)
        is_inside = logits > 0
        doubtful = np.flatnonzero(np.abs(logits) <= error[:, None, None])
        if len(doubtful):
            tile, column, row = np.unravel_index(doubtful, logits.shape)
            exact = two_step.exactly_at(
                low_res_mask, row + rows.start[i[tile]], column + columns.start[j[tile]]
            )
            is_inside.ravel()[doubtful] = exact > 0
        # Windows overlap, but are right wherever they are, and alike.
        first_columns, first_rows = columns.start[j] - left, rows.start[i] - top + 1
        for window, x, y in zip(
            is_inside, first_columns.tolist(), first_rows.tolist(), strict=True
        ):
            bits[x : x + columns.size, y : y + rows.size] = window
    return Region(bits, left, top)


def count_in_tiles(cells: NDArray[np.bool_], two_step: TwoStep) -> NDArray[np.int32]:
    """How many of the cells that each tile reads are set: int32 [row segments, column ...]."""
    rows, columns = two_step.rows.segments, two_step.columns.segments
    # Sums over everything above and to the left, of which four give the sum of any rectangle.
    sums = cv2.integral(cells.view(np.uint8))
    of_rows: NDArray[np.int32] = sums[rows.end_cell] - sums[rows.first_cell]
    return of_rows[:, columns.end_cell] - of_rows[:, columns.first_cell]


def encode_region(region: Region, original_size: tuple[int, int]) -> bytes:
    """COCO compressed RLE counts of a region in an otherwise empty mask.

    Args:
        region: as `upsample_region` gives it.
        original_size: (height, width) of the mask.

    Returns:
        what `pycocotools.mask.encode` writes for the whole mask.
    """
    height, width = original_size
    changes = np.flatnonzero(region.bits[:, 1:] != region.bits[:, :-1])
    column, row = np.divmod(changes, region.bits.shape[1] - 1)
    # In the mask's order, column after column: where runs of foreground start and end, in turn.
    bounds = (region.left + column) * height + region.top + row
    # A run that ends at the bottom of a column may go on at the top of the next one.
    goes_on = np.flatnonzero(bounds[1:] == bounds[:-1])
    bounds = np.delete(bounds, np.concatenate([goes_on, goes_on + 1]))
    if len(bounds) and bounds[-1] == height * width:
        bounds = bounds[:-1]
    counts = np.diff(bounds, prepend=0, append=height * width)
    runs = {"size": [height, width], "counts": counts}
    encoded: bytes = coco_mask.frPyObjects(runs, height, width)["counts"]
    return encoded


def upsample_mask(
    low_res_mask: Floats, side: int, original_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """A whole mask; see `upsample_region`.

    Args:
        low_res_mask: float32 [h, w] logits (256 x 256 for SAM).
        side: the model's input size in pixels.
        original_size: (height, width) of the original image.

    Returns:
        bool [height, width].
    """
    height, width = low_res_mask.shape
    region = upsample_region(low_res_mask, two_step_of((height, width), side, original_size))
    mask = np.zeros(original_size, np.bool_)
    bits = region.bits[:, 1:-1].T
    mask[region.top : region.top + bits.shape[0], region.left : region.left + bits.shape[1]] = bits
    return mask


def decode_rle(counts: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of COCO compressed RLE counts: bool [H, W] for size (H, W)."""
    mask: NDArray[np.uint8] = coco_mask.decode({"counts": counts, "size": list(size)})
    return mask.view(np.bool_)


def low_res_masks_to_rle(
    low_res_masks: Floats, side: int, original_size: tuple[int, int]
) -> NDArray[np.object_]:
    """RLE counts of every mask, one mask's region in memory at a time.

    Args:
        low_res_masks: float32 [N, M, h, w] logits.
        side: the model's input size in pixels.
        original_size: (height, width) of the original image.

    Returns:
        object [N, M] of bytes.
    """
    n, m, height, width = low_res_masks.shape
    two_step = two_step_of((height, width), side, original_size)
    counts = np.empty((n, m), np.object_)
    for index in np.ndindex(n, m):
        region = upsample_region(low_res_masks[index], two_step)
        counts[index] = encode_region(region, original_size)
    return counts
