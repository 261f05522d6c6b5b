"""Masks in other tools' formats are the same masks when those tools read them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ovseg_client import Prediction
from ovseg_client.formats import (
    CocoDataset,
    cutouts,
    label_map,
    mask_images,
    paddlex_rles,
    uncompressed_rles,
)
from PIL import Image
from pycocotools.coco import COCO

from ovseg.stages.image import decode_image
from tests.client.predictions import Mask, prediction_of, rle_of

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = hnp.arrays(np.bool_, SHAPES)
SEVERAL = st.integers(1, 4).flatmap(
    lambda n: SHAPES.flatmap(lambda shape: hnp.arrays(np.bool_, (n, *shape)))
)
CANDIDATES = np.eye(3, dtype=np.bool_)[:, None, :]
"""Three masks of one pixel each, in a row of three."""


def reopened(picture: Image.Image) -> Image.Image:
    """A picture after it was a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Image.open(file)


def loaded(dataset: CocoDataset, folder: Path) -> Any:
    """An annotation file as pycocotools has it."""
    file = folder / "annotations.json"
    file.write_text(json.dumps(dataset.as_dict(), allow_nan=False))
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(file))


@settings(deadline=None)
@given(MASKS)
def test_boxes_and_areas_are_those_of_the_masks(mask: Mask) -> None:
    (box,), (area,) = prediction_of(mask).boxes.tolist(), prediction_of(mask).areas.tolist()

    rows, columns = np.nonzero(mask)
    assert area == len(rows)
    if not area:
        assert box == [0, 0, 0, 0]
        return
    left, top = min(columns), min(rows)
    assert box == [left, top, max(columns) + 1 - left, max(rows) + 1 - top]


def test_candidates_have_boxes_and_areas_too_and_one_of_them_is_chosen() -> None:
    found = prediction_of(*CANDIDATES, scores=[[0.1, 0.9, np.nan]])

    assert found.areas.tolist() == [[1, 1, 1]]
    assert found.boxes.tolist() == [[[0, 0, 1, 1], [1, 0, 1, 1], [2, 0, 1, 1]]]
    assert found.chosen.rles == [found.flat_rles[1]]
    assert found.chosen.masks.tolist() == [[[False, True, False]]]
    assert found.chosen.scores.tolist() == [np.float32(0.9)]
    assert found.chosen.chosen.scores.shape == (1,)


def test_what_refines_candidates_is_chosen_with_them() -> None:
    found = Prediction(
        rles=[[rle_of(mask) for mask in CANDIDATES]],
        scores=np.array([[0.1, 0.2, 0.3]], np.float32),
        size=(1, 3),
        mask_ids=[["a", "b", "c"]],
        low_res_masks=np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1),
    )

    assert found.chosen.mask_ids == ["c"]
    assert found.chosen.low_res_masks is not None
    assert found.chosen.low_res_masks.tolist() == [[[2.0]]]


def test_no_masks_have_no_boxes_areas_and_formats() -> None:
    nothing = prediction_of()

    assert nothing.boxes.shape == (0, 4) and nothing.areas.shape == (0,)
    assert mask_images(nothing) == uncompressed_rles(nothing) == paddlex_rles(nothing) == []


@settings(deadline=None)
@given(MASKS)
def test_uncompressed_runs_are_what_pycocotools_takes(mask: Mask) -> None:
    (rle,) = uncompressed_rles(prediction_of(mask))

    assert json.loads(json.dumps(rle)) == rle
    height, width = mask.shape
    encoded = pycocotools.mask.frPyObjects(rle, height, width)
    assert encoded["counts"].decode() == rle_of(mask)["counts"]


def test_paddlex_has_its_own_names() -> None:
    (rle,) = paddlex_rles(prediction_of(CANDIDATES[0]))

    assert rle == {"rleResult": rle_of(CANDIDATES[0])["counts"], "size": [1, 3]}


@settings(deadline=None)
@given(MASKS)
def test_a_mask_image_is_the_mask(mask: Mask) -> None:
    (picture,) = mask_images(prediction_of(mask))

    read = reopened(picture)
    assert read.mode == "L"
    assert np.array_equal(np.asarray(read), np.where(mask, 255, 0))


@settings(deadline=None)
@given(SEVERAL)
def test_a_label_map_gives_each_pixel_to_the_smallest_mask(masks: npt.NDArray[np.bool_]) -> None:
    read = reopened(label_map(prediction_of(*masks)))

    assert read.mode == "P"
    labels = np.asarray(read)
    assert np.array_equal(labels == 0, ~masks.any(axis=0))
    areas = masks.sum(axis=(1, 2))
    for y, x in np.argwhere(labels):
        assert areas[labels[y, x] - 1] == areas[masks[:, y, x]].min()


def test_a_label_map_has_a_colour_for_each_mask() -> None:
    picture = label_map(prediction_of(*np.eye(255, dtype=np.bool_)[:, None, :]))

    colours = picture.convert("RGB").getcolors(256)
    assert colours is not None
    assert len(colours) == 255 and (1, (0, 0, 0)) not in colours


def test_many_masks_make_a_16_bit_label_map() -> None:
    read = reopened(label_map(prediction_of(*np.eye(300, dtype=np.bool_)[:, None, :])))

    assert np.array_equal(np.asarray(read), [range(1, 301)])


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_loads_an_annotation_file_with_the_same_masks(
    tmp_path: Path, polygons: bool
) -> None:
    rng = np.random.default_rng(0)
    first = [rng.random((9, 14)) < density for density in (0.4, 0.8)]
    second = rng.random((6, 5)) < 0.6
    dataset = CocoDataset("cell", polygons=polygons)
    dataset.add("a.png", prediction_of(*first, np.zeros((9, 14), np.bool_), scores=[0.5, 0.25, 0]))
    dataset.add("https://example.org/b.png", prediction_of(second, scores=[np.nan]))

    coco = loaded(dataset, tmp_path)

    images = coco.loadImgs(coco.getImgIds())
    assert [(i["file_name"], i["width"], i["height"]) for i in images] == [
        ("a.png", 14, 9),
        ("https://example.org/b.png", 5, 6),
    ]
    assert images[1]["coco_url"] == "https://example.org/b.png"
    assert coco.loadCats(coco.getCatIds())[0]["name"] == "cell"
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [(a["image_id"], a.get("score")) for a in annotations] == [
        (1, 0.5),
        (1, 0.25),
        (2, None),
    ]
    for annotation, mask in zip(annotations, [*first, second], strict=True):
        assert isinstance(annotation["segmentation"], list) == polygons
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == prediction_of(mask).boxes[0].tolist()
        assert annotation["iscrowd"] == 0


def test_an_annotation_is_of_the_best_candidate(tmp_path: Path) -> None:
    dataset = CocoDataset()
    dataset.add("a.png", prediction_of(*CANDIDATES, scores=[[0.1, 0.9, 0.3]]))

    coco = loaded(dataset, tmp_path)

    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(annotation), CANDIDATES[1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_cutout_shows_the_pixels_that_the_service_saw(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    seen = decode_image((tmp_path / "photo.png").read_bytes(), 100)
    mask = np.zeros(seen.shape[:2], np.bool_)
    mask[1:3, 2:4] = [[True, True], [False, True]]

    (cutout,) = cutouts(prediction_of(mask), tmp_path / "photo.png")

    read = np.asarray(reopened(cutout))
    assert read.shape == (2, 2, 4)
    assert read[..., 3].tolist() == [[255, 255], [0, 255]]
    assert np.array_equal(read[0, :, :3], seen[1, 2:4])
    assert read[1, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_a_cutout_of_any_kind_of_file_has_the_services_colours(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.arange(24, dtype=np.uint16).reshape(4, 6) * 2500)
    else:
        noise = np.random.default_rng(0).integers(1, 256, (4, 6, 4), np.uint8)
        picture = Image.fromarray(noise).convert(mode)
    picture.save(tmp_path / "photo.png")
    seen = decode_image((tmp_path / "photo.png").read_bytes(), 100)

    (cutout,) = cutouts(prediction_of(np.ones((4, 6), np.bool_)), tmp_path / "photo.png")

    assert np.array_equal(np.asarray(cutout)[..., :3], seen)


@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff"])
def test_exif_that_nobody_can_read_does_not_stop_a_cutout(exif: bytes) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG", exif=exif)

    (cutout,) = cutouts(prediction_of(np.ones((2, 3), np.bool_)), file.getvalue())

    assert cutout.size == (3, 2)


def test_an_empty_mask_is_cut_out_as_a_transparent_pixel() -> None:
    (cutout,) = cutouts(prediction_of(np.zeros((2, 3), np.bool_)), np.full((2, 3, 3), 9, np.uint8))

    assert cutout.size == (1, 1) and cutout.getpixel((0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 2, 3), np.uint8), "2 x 3 pixels, its masks are 3 x 2"),
        (b"no picture", "cannot be read"),
    ],
)
def test_a_cutout_of_another_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cutouts(prediction_of(np.ones((2, 3), np.bool_)), image)
