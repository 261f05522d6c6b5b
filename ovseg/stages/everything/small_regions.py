"""Masks without their specks and pinholes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.everything.candidates import Candidates, non_maximum_suppression
from ovseg.stages.everything.measuring import box_of
from ovseg.stages.masks import Region, decode_rle, encode_region


def without_small_regions(
    found: Candidates, size: tuple[int, int], min_area: int, threshold: float
) -> Candidates:
    """Remove small holes and separate regions, then what has become the same.

    Of masks that have become the same, one that needed no change is preferred.

    Args:
        found: masks.
        size: (height, width) of the image.
        min_area: pixels below which a region or a hole is small.
        threshold: as of `non_maximum_suppression`.
    """
    counts, boxes, areas = found.counts.copy(), found.boxes.copy(), found.areas.copy()
    unchanged = np.ones(len(found), np.float32)
    for k in range(len(found)):
        mask = decode_rle(counts[k], size)
        filled = _filled(mask, min_area)
        cleaned = _without_islands(filled, min_area)
        if cleaned is mask:
            continue
        unchanged[k] = 0
        region = Region(np.pad(cleaned.T, ((0, 0), (1, 1))), 0, 0)
        counts[k], boxes[k] = encode_region(region, size), box_of(region)
        areas[k] = np.count_nonzero(cleaned)
    keep = non_maximum_suppression(boxes, unchanged, threshold)
    return replace(found, counts=counts, boxes=boxes, areas=areas).chosen(keep)


def _filled(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """With its small holes filled; the very same array where it has none."""
    regions, areas = _connected(~mask)
    small = np.flatnonzero(areas < min_area) + 1
    return mask | np.isin(regions, small) if len(small) else mask


def _without_islands(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """Without its small regions, but for the largest; the same array where it has none."""
    regions, areas = _connected(mask)
    large = np.flatnonzero(areas >= min_area) + 1
    if len(large) == len(areas):
        return mask
    return np.isin(regions, large if len(large) else areas.argmax() + 1)


def _connected(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Labels [H, W] of 8-connected regions, from 1; and the area of each region."""
    import cv2  # It takes long to import, and this is asked for rarely.

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), 8)
    return np.asarray(labels, np.int32), np.asarray(statistics[1:, cv2.CC_STAT_AREA], np.int32)
