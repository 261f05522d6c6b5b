"""Outlines of masks decode back to the masks, whatever these look like."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ovseg_client.formats import coco_polygons, rings
from ovseg_client.formats.outlines import Ring
from PIL import Image, ImageDraw

from tests.client.predictions import Mask, prediction_of, rle_of

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))

# A part in the hole of a part, pixels and holes that touch at corners, a part at the border.
NESTED = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 1],
        [1, 0, 1, 1, 1, 0, 1, 0, 0],
        [1, 0, 1, 0, 1, 0, 1, 1, 1],
        [1, 0, 1, 1, 1, 0, 1, 0, 1],
        [1, 0, 0, 0, 0, 0, 0, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1, 0],
    ],
    np.bool_,
)


def fill(outlines: list[Ring], height: int, width: int) -> npt.NDArray[np.int64]:
    """How often the outlines wind around each pixel's centre: clockwise is positive."""
    winding = np.zeros((height, width), np.int64)
    for outline in outlines:
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            assert (x0 == x1) != (y0 == y1), "neither horizontal nor vertical"
            # A ray to the left from a centre on the right of a vertical edge crosses that edge.
            winding[min(y0, y1) : max(y0, y1), x0:] += np.sign(y0 - y1)
    return winding


def decoded_by_pycocotools(polygons: list[list[int]], mask: Mask) -> Mask:
    height, width = mask.shape
    if not polygons:
        return np.zeros_like(mask)
    merged = pycocotools.mask.merge(pycocotools.mask.frPyObjects(polygons, height, width))
    return pycocotools.mask.decode(merged).astype(np.bool_)


@settings(deadline=None)
@given(MASKS)
def test_rings_wind_once_around_the_mask_and_around_nothing_else(mask: Mask) -> None:
    assert np.array_equal(fill(rings(rle_of(mask)), *mask.shape), mask)


@settings(deadline=None)
@given(MASKS)
def test_coco_polygons_are_the_mask_for_pycocotools(mask: Mask) -> None:
    (polygons,) = coco_polygons(prediction_of(mask))

    assert np.array_equal(decoded_by_pycocotools(polygons, mask), mask)


def test_a_pixel_is_a_square_from_corner_to_corner() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1, 3] = True

    assert coco_polygons(prediction_of(mask)) == [[[3, 1, 4, 1, 4, 2, 3, 2]]]


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_that_touch_at_a_corner_are_two_parts(mirrored: bool) -> None:
    mask = np.eye(2, dtype=np.bool_)
    found = rings(rle_of(mask[::-1] if mirrored else mask))

    assert [len(ring) for ring in found] == [4, 4]


def test_seams_lead_straight_down_to_holes_from_left_to_right() -> None:
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], np.bool_)
    (polygons,) = coco_polygons(prediction_of(mask))

    assert np.reshape(polygons, (-1, 2)).tolist() == [
        *([0, 0], [2, 0]),
        *([2, 1], [1, 1], [1, 2], [2, 2], [2, 1]),
        *([2, 0], [4, 0]),
        *([4, 1], [3, 1], [3, 2], [4, 2], [4, 1]),
        *([4, 0], [5, 0], [5, 3], [0, 3]),
    ]


def test_parts_and_holes_are_told_apart_by_their_direction() -> None:
    found = rings(rle_of(NESTED))
    areas = [int(fill([ring], *NESTED.shape).sum()) for ring in found]

    # The large part, the one in its hole, the pixel at the border; and the two holes.
    assert sorted(areas) == [-27, -1, 1, 9, 56]
    assert len(coco_polygons(prediction_of(NESTED))[0]) == 3


@pytest.mark.parametrize("turns", range(4))
def test_a_seam_finds_its_way_from_every_side(turns: int) -> None:
    mask = np.rot90(NESTED, turns)
    (polygons,) = coco_polygons(prediction_of(mask))

    assert np.array_equal(decoded_by_pycocotools(polygons, mask), mask)


def test_candidates_give_the_best_ones_polygons() -> None:
    first, best, last = np.eye(3, dtype=np.bool_)[:, None, :]
    prediction = prediction_of(first, best, last, scores=[[0.1, 0.9, 0.3]])

    assert coco_polygons(prediction) == [[[1, 0, 2, 0, 2, 1, 1, 1]]]


def test_what_draws_outlines_too_adds_pixels_to_the_right_and_below_only() -> None:
    """The loss that `coco_polygons` states."""
    mask = np.pad(np.ones((4, 6), np.bool_), 3)
    (ring,) = rings(rle_of(mask))
    by_pillow = Image.new("1", mask.shape[::-1])
    ImageDraw.Draw(by_pillow).polygon([tuple(corner) for corner in ring.tolist()], fill=1)
    by_opencv: Any = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(by_opencv, [ring.astype(np.int32)], 1)

    larger = np.pad(np.ones((5, 7), np.bool_), ((3, 2), (3, 2)))
    assert np.array_equal(np.asarray(by_pillow), larger)
    assert np.array_equal(by_opencv, larger)
