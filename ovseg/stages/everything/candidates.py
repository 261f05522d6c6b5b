"""Masks that were found, and which of them to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """K masks.

    Attributes:
        counts: object [K] of bytes, COCO compressed RLE at the size of the image.
        boxes: int32 [K, 4], x0 y0 x1 y1 of the first and the last pixels; zeros for no mask.
        scores: float32 [K], predicted IoU.
        stability_scores: float32 [K].
        areas: int32 [K], in pixels.
        points: float32 [K, 2], x y of the point that found it, in pixels of the image.
        crop_boxes: int32 [K, 4], x0 y0 x1 y1 of the crop that it was found in.
    """

    counts: NDArray[np.object_]
    boxes: NDArray[np.int32]
    scores: Floats
    stability_scores: Floats
    areas: NDArray[np.int32]
    points: Floats
    crop_boxes: NDArray[np.int32]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[Any, ...]]) -> Candidates:
        """From a tuple for each mask, in the order of the fields."""
        columns = list(zip(*rows, strict=True)) or [()] * len(fields(cls))
        return cls(
            counts=np.array(columns[0], np.object_),
            boxes=np.array(columns[1], np.int32).reshape(-1, 4),
            scores=np.array(columns[2], np.float32),
            stability_scores=np.array(columns[3], np.float32),
            areas=np.array(columns[4], np.int32),
            points=np.array(columns[5], np.float32).reshape(-1, 2),
            crop_boxes=np.array(columns[6], np.int32).reshape(-1, 4),
        )

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """One after another."""
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in (field.name for field in fields(cls))
            }
        )

    def __len__(self) -> int:
        return len(self.counts)

    def chosen(self, index: Index) -> Candidates:
        """Some of them, in the order of `index`."""
        return Candidates(**{name: array[index] for name, array in vars(self).items()})


def non_maximum_suppression(boxes: NDArray[np.int32], scores: Floats, threshold: float) -> Index:
    """Of boxes that overlap, the one with the highest score.

    As torchvision's `nms`: of equal scores the first counts as higher; a box's area is
    (x1 - x0) * (y1 - y0), so that boxes without an area overlap with nothing.

    Args:
        boxes: [K, 4], x0 y0 x1 y1.
        scores: [K].
        threshold: boxes with a larger IoU overlap.

    Returns:
        int64 [n], the boxes to keep, the highest score first.
    """
    corners = boxes.astype(np.float32)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    rest = np.argsort(-scores, kind="stable")
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        start = np.maximum(corners[best, :2], corners[rest, :2])
        stop = np.minimum(corners[best, 2:], corners[rest, 2:])
        shared = np.maximum(stop - start, 0).prod(axis=1)
        with np.errstate(invalid="ignore"):  # 0 / 0: no area, no overlap
            iou = shared / (areas[best] + areas[rest] - shared)
        rest = rest[~(iou.astype(np.float64) > threshold)]
    return np.array(kept, np.int64)
