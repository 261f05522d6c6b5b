"""Everything in one image, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.everything.candidates import Candidates, non_maximum_suppression
from ovseg.stages.everything.crops import Crop, crops_of, point_grid
from ovseg.stages.everything.measuring import box_of, stability_score
from ovseg.stages.everything.parameters import EverythingParameters
from ovseg.stages.everything.small_regions import without_small_regions
from ovseg.stages.masks import Region, encode_region, two_step_of, upsample_region

Floats = NDArray[np.float32]


class ImageModels(Protocol):
    """The model's stages, for one image."""

    def embed(self) -> tuple[Floats, tuple[int, int]]:
        """The embedding of the whole image, and the image's (height, width)."""
        ...

    def embed_crop(self, crop: Crop) -> Floats:
        """The embedding of a part of the image, as if it were an image."""
        ...

    def decode(
        self, embedding: Floats, size: tuple[int, int], points: Floats
    ) -> tuple[Floats, Floats]:
        """Three masks for each point.

        Args:
            embedding: of an image or a part.
            size: its (height, width).
            points: float32 [N, 2], x y in its pixels.

        Returns:
            low-res logits, float32 [N, 3, h, w]; predicted IoU, float32 [N, 3].
        """
        ...


@dataclass(frozen=True)
class Progress:
    """How far it is, in points of all crops."""

    done: int
    total: int


@dataclass(frozen=True)
class Found:
    """The end."""

    masks: Candidates
    size: tuple[int, int]
    """(height, width) of the image."""


def find_everything(
    models: ImageModels, side: int, parameters: EverythingParameters
) -> Iterator[Progress | Found]:
    """Find everything; the caller may stop between two items.

    Args:
        models: the stages.
        side: the model's input size.
        parameters: checked.

    Yields:
        `Progress`, first when the image's embedding is there; `Found` at the end.
    """
    embedding, size = models.embed()
    crops = crops_of(size, parameters.crop_n_layers, parameters.crop_overlap_ratio)
    total = sum(parameters.points_per_side_of(crop.layer) ** 2 for crop in crops)
    done = 0
    yield Progress(done, total)
    kept = []
    for crop in crops:
        if crop.layer:
            embedding = models.embed_crop(crop)
        parts = [Candidates.from_rows([])]
        for points, masks, scores in _decoded(models, embedding, crop, parameters):
            parts.append(_candidates(points, masks, scores, crop, size, side, parameters))
            done += len(points)
            yield Progress(done, total)
        found = Candidates.joined(parts)
        kept.append(
            found.chosen(
                non_maximum_suppression(found.boxes, found.scores, parameters.box_nms_thresh)
            )
        )
    everything = Candidates.joined(kept)
    if len(crops) > 1:
        everything = everything.chosen(_best_of_crops(everything, parameters.crop_nms_thresh))
    if parameters.min_mask_region_area > 0:
        threshold = max(parameters.box_nms_thresh, parameters.crop_nms_thresh)
        everything = without_small_regions(
            everything, size, parameters.min_mask_region_area, threshold
        )
    yield Found(everything, size)


def _decoded(
    models: ImageModels, embedding: Floats, crop: Crop, parameters: EverythingParameters
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Points of a crop's grid in its pixels, their masks and scores, batch by batch.

    The next batch is decoded while the caller is busy with the one before.
    """
    grid = point_grid(parameters.points_per_side_of(crop.layer))
    points = (grid * np.array(crop.size[::-1])).astype(np.float32)
    step = parameters.points_per_batch
    batches = [points[start : start + step] for start in range(0, len(points), step)]
    with ThreadPoolExecutor(1, "decode-ahead") as ahead:
        coming = ahead.submit(models.decode, embedding, crop.size, batches[0])
        for i, batch in enumerate(batches):
            masks, scores = coming.result()
            if i + 1 < len(batches):
                coming = ahead.submit(models.decode, embedding, crop.size, batches[i + 1])
            yield batch, masks, scores


def _candidates(
    points: Floats,
    masks: Floats,
    scores: Floats,
    crop: Crop,
    image_size: tuple[int, int],
    side: int,
    parameters: EverythingParameters,
) -> Candidates:
    """What of a batch of points in a crop is good enough: points [n, 2], masks [n, 3, h, w]."""
    height, width = masks.shape[2:]
    two_step = two_step_of((height, width), side, crop.size)
    is_good = np.ones(scores.shape, np.bool_)
    if parameters.pred_iou_thresh > 0:
        is_good = scores > np.float32(parameters.pred_iou_thresh)
    rows = []
    for i, m in np.argwhere(is_good).tolist():
        mask = masks[i, m]
        stability = stability_score(mask, two_step, parameters.stability_score_offset)
        threshold = np.float32(parameters.stability_score_thresh)
        if threshold > 0 and not stability >= threshold:  # true for NaN too
            continue
        in_crop = upsample_region(mask, two_step)
        region = Region(in_crop.bits, in_crop.left + crop.left, in_crop.top + crop.top)
        box = box_of(region)
        if crop.cuts(box, image_size):
            continue
        rows.append(
            (
                encode_region(region, image_size),
                box,
                scores[i, m],
                stability,
                np.count_nonzero(region.bits),
                points[i] + np.array([crop.left, crop.top]),
                crop.box,
            )
        )
    return Candidates.from_rows(rows)


def _best_of_crops(found: Candidates, threshold: float) -> NDArray[np.int64]:
    """Of the same thing in several crops, the mask of the smallest crop, which saw most of it."""
    sizes = found.crop_boxes[:, 2:].astype(np.float32) - found.crop_boxes[:, :2]
    return non_maximum_suppression(found.boxes, 1 / sizes.prod(axis=1), threshold)
