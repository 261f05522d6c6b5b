"""The whole procedure, with a model that sees one disc around each point."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.everything.crops import Crop
from ovseg.stages.everything.generate import Found, Progress, find_everything
from ovseg.stages.everything.parameters import EverythingParameters
from ovseg.stages.masks import decode_rle

Floats = NDArray[np.float32]
SIZE = (200, 320)
SIDE = 320


class Discs:
    """Of an image with discs in it: a point finds the disc that it is on, in steep logits.

    Candidates of one point: the disc, the same but blurred (unstable), the same with a low score.
    """

    def __init__(self, *discs: tuple[int, int, int]) -> None:
        self.discs = discs
        self.crops: list[Crop] = []
        self.batches: list[int] = []
        self._crop = Crop(0, 0, SIZE[1], SIZE[0])
        self.threads: set[int] = set()

    def embed(self) -> tuple[Floats, tuple[int, int]]:
        return np.zeros(1, np.float32), SIZE

    def embed_crop(self, crop: Crop) -> Floats:
        self.crops.append(crop)
        self._crop = crop
        return np.zeros(1, np.float32)

    def decode(
        self, embedding: Floats, size: tuple[int, int], points: Floats
    ) -> tuple[Floats, Floats]:
        assert size == self._crop.size
        self.batches.append(len(points))
        self.threads.add(threading.get_ident())
        masks = np.full((len(points), 3, 256, 256), -20, np.float32)
        scores = np.tile(np.array([0.95, 0.97, 0.5], np.float32), (len(points), 1))
        scale = SIDE / max(size) * 256 / SIDE
        y, x = (np.mgrid[0:256, 0:256] + 0.5) / scale
        for i, (px, py) in enumerate(points + np.array([self._crop.left, self._crop.top])):
            for cx, cy, r in self.discs:
                if np.hypot(px - cx, py - cy) < r:
                    inside = r - np.hypot(x + self._crop.left - cx, y + self._crop.top - cy)
                    masks[i] = np.stack([20 * inside, inside / 10, 20 * inside])
        return masks, scores


def found_by(model: Discs, **parameters: float) -> tuple[list[Progress], Found]:
    chosen = EverythingParameters(points_per_side=8, **parameters)  # type: ignore[arg-type]
    *progress, found = find_everything(model, SIDE, chosen)
    assert isinstance(found, Found) and all(isinstance(item, Progress) for item in progress)
    return [item for item in progress if isinstance(item, Progress)], found


def test_each_thing_is_found_once_by_its_stable_mask() -> None:
    model = Discs((80, 60, 40), (240, 130, 50))
    progress, found = found_by(model, points_per_batch=10)

    assert found.size == SIZE
    assert len(found.masks) == 2
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5
    for k in range(2):
        mask = decode_rle(found.masks.counts[k], SIZE)
        iou = []
        for cx, cy, r in model.discs:
            disc = np.hypot(x - cx, y - cy) < r
            iou.append((mask & disc).sum() / (mask | disc).sum())
        assert max(iou) > 0.97
        assert found.masks.areas[k] == mask.sum()
        rows, columns = np.nonzero(mask)
        assert found.masks.boxes[k].tolist() == [
            columns.min(),
            rows.min(),
            columns.max(),
            rows.max(),
        ]
        px, py = found.masks.points[k].astype(int)
        assert mask[py, px]
    assert (found.masks.scores == np.float32(0.95)).all()  # Not the blurred one, which has 0.97.
    assert (found.masks.stability_scores > 0.95).all()
    assert model.batches == [10] * 6 + [4]
    assert [item.done for item in progress] == [0, 10, 20, 30, 40, 50, 60, 64]
    assert {item.total for item in progress} == {64}


def test_a_threshold_of_0_keeps_what_it_would_judge() -> None:
    _, found = found_by(
        Discs((160, 100, 60)), pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
    )
    assert len(found.masks) == 3 * 64  # Empty ones, too.


def test_crops_add_what_the_image_as_a_whole_has_missed() -> None:
    # No point of the grid of 8 x 8, 40 x 25 pixels apart, is on the small disc.
    model = Discs((160, 100, 70), (280, 150, 11))
    _, found = found_by(model)
    assert len(found.masks) == 1

    progress, found = found_by(model, crop_n_layers=1)
    assert [crop.layer for crop in model.crops] == [1] * 4
    assert {item.total for item in progress} == {5 * 64}
    boxes = sorted(found.masks.boxes.tolist())
    np.testing.assert_allclose(boxes, [[90, 30, 229, 169], [269, 139, 290, 160]], atol=2)
    (small,) = np.flatnonzero(found.masks.areas < 1000)
    assert found.masks.crop_boxes[small].tolist() != [0, 0, SIZE[1], SIZE[0]]
    mask = decode_rle(found.masks.counts[small], SIZE)
    assert mask[150, 280] and mask.sum() == found.masks.areas[small]
    assert np.hypot(*(found.masks.points[small] - [280, 150])) < 11


def test_stopping_early_leaves_nothing_running() -> None:
    model = Discs((80, 60, 40))
    items = find_everything(model, SIDE, EverythingParameters(points_per_batch=1))
    for _ in range(3):
        next(items)
    items.close()  # type: ignore[attr-defined]
    batches = len(model.batches)
    assert batches <= 4
    running = {thread.ident for thread in threading.enumerate()}
    assert not model.threads & running
