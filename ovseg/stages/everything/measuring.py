"""From one low-res mask to what is known of it at full size: stability, box, area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.interpolation import TwoStep
from ovseg.stages.masks import Region, count_in_tiles

Floats = NDArray[np.float32]


def stability_score(low_res_mask: Floats, two_step: TwoStep, offset: float) -> np.float32:
    """How little a mask hangs on the threshold: pixels above `offset` / pixels above `-offset`.

    Both are counted at full size, as Meta does, but computed only where an outline goes through.

    Args:
        low_res_mask: float32 [h, w] logits.
        two_step: for this mask's and the image's size.
        offset: in logits.

    Returns:
        0 to 1; NaN for a mask without any pixel.
    """
    cells_above = {
        limit: count_in_tiles(low_res_mask > limit, two_step) for limit in (offset, -offset)
    }
    rows, columns = two_step.rows, two_step.columns
    n_pixels = np.outer(
        rows.segments.stop - rows.segments.start, columns.segments.stop - columns.segments.start
    )
    # A pixel is a mean of its cells, so no pixel of a tile can be above all, or below all of them.
    is_all = {limit: above == two_step.cell_counts for limit, above in cells_above.items()}
    is_some = {limit: (above > 0) & ~is_all[limit] for limit, above in cells_above.items()}
    pixels = {limit: int(n_pixels[is_all[limit]].sum()) for limit in cells_above}
    for i, j in two_step.batches(is_some[offset] | is_some[-offset]):
        logits, _ = two_step.nearly_within(low_res_mask, i, j)
        # A window's other pixels are counted with their own tile.
        is_own = columns.is_own[j][:, :, None] & rows.is_own[i][:, None, :]
        for limit, is_mixed in is_some.items():
            is_counted = is_own & is_mixed[i, j][:, None, None]
            pixels[limit] += int(np.count_nonzero((logits > limit) & is_counted))
    if pixels[-offset] == 0:
        return np.float32(np.nan)
    return np.float32(pixels[offset]) / np.float32(pixels[-offset])


def box_of(region: Region) -> NDArray[np.int32]:
    """int32 [4], x0 y0 x1 y1 of a region's first and last pixels; zeros if it has none."""
    bits = region.bits[:, 1:-1]
    used_columns, used_rows = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(used_columns) == 0:
        return np.zeros(4, np.int32)
    return np.array(
        [
            region.left + used_columns[0],
            region.top + used_rows[0],
            region.left + used_columns[-1],
            region.top + used_rows[-1],
        ],
        np.int32,
    )
