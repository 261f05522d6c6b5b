"""Which masks stay, against a reference that follows the definition one box at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ovseg.stages.everything.candidates import Candidates, non_maximum_suppression
from ovseg.stages.everything.small_regions import without_small_regions
from ovseg.stages.masks import Region, decode_rle, encode_region


def one_by_one(boxes: list[list[int]], scores: list[float], threshold: float) -> list[int]:
    """Greedy suppression as textbooks have it."""

    def area(box: list[int]) -> int:
        return (box[2] - box[0]) * (box[3] - box[1])

    def overlaps(a: list[int], b: list[int]) -> bool:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        union = area(a) + area(b) - shared
        return union > 0 and np.float32(shared) / np.float32(union) > threshold

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):  # stable
        if not any(overlaps(boxes[j], boxes[i]) for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_suppression_keeps_what_the_definition_keeps(threshold: float) -> None:
    random = np.random.default_rng(7)
    for count in (0, 1, 2, *[25] * 20):
        corners = np.sort(random.integers(0, 10, (count, 2, 2)), axis=1)  # Many share an edge.
        boxes = corners.reshape(count, 4).astype(np.int32)
        scores = random.choice([0.1, 0.5, 0.5000001, 0.9], count).astype(np.float32)
        kept = non_maximum_suppression(boxes, scores, threshold)
        assert kept.tolist() == one_by_one(boxes.tolist(), scores.tolist(), threshold)


def candidates(*masks: NDArray[np.bool_]) -> Candidates:
    size = masks[0].shape
    rows = []
    for k, mask in enumerate(masks):
        counts = encode_region(Region(np.pad(mask.T, ((0, 0), (1, 1))), 0, 0), (size[0], size[1]))
        used = np.argwhere(mask)
        (top, left), (bottom, right) = used.min(axis=0), used.max(axis=0)
        rows.append(
            (counts, (left, top, right, bottom), 0.9 - k / 10, 1, mask.sum(), (0, 0), (0, 0, 9, 9))
        )
    return Candidates.from_rows(rows)


def test_specks_and_pinholes_go_and_what_is_the_same_then_is_one() -> None:
    clean = np.zeros((30, 40), np.bool_)
    clean[5:25, 5:30] = True
    spotted = clean.copy()
    spotted[10, 10] = False
    spotted[28, 38] = True
    elsewhere = np.zeros_like(clean)
    elsewhere[0:4, 33:39] = True
    found = candidates(spotted, clean, elsewhere)

    cleaned = without_small_regions(found, (30, 40), 5, 0.7)

    assert cleaned.areas.tolist() == [clean.sum(), elsewhere.sum()]
    assert cleaned.scores.tolist() == pytest.approx([0.8, 0.7])  # The one that needed no change.
    for counts, mask in zip(cleaned.counts, (clean, elsewhere), strict=True):
        np.testing.assert_array_equal(decode_rle(counts, (30, 40)), mask)

    (alone,) = [without_small_regions(candidates(spotted), (30, 40), 5, 0.7)]
    np.testing.assert_array_equal(decode_rle(alone.counts[0], (30, 40)), clean)
    assert alone.boxes.tolist() == [[5, 5, 29, 24]] and alone.areas.tolist() == [clean.sum()]


def test_of_a_mask_of_specks_only_the_largest_stays() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[1, 1] = mask[5:7, 5] = True

    cleaned = without_small_regions(candidates(mask), (10, 10), 50, 0.7)

    assert cleaned.boxes.tolist() == [[5, 5, 5, 6]] and cleaned.areas.tolist() == [2]
