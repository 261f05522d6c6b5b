"""Prompts and images as callers write them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from ovseg_client.images import encode_png, is_url, read_image
from ovseg_client.prompts import make_prompts
from PIL import Image


def test_a_box_is_two_labelled_corners() -> None:
    prompts = make_prompts(boxes=[[1, 2, 3, 4], [5, 6, 7, 8]])

    assert prompts.coords.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert prompts.labels.tolist() == [[2, 3], [2, 3]]
    assert prompts.rows == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("points", "coords"),
    [
        ([1, 2], [[[1, 2]]]),
        ([[1, 2], [3, 4]], [[[1, 2]], [[3, 4]]]),
        ([[[1, 2], [3, 4]]], [[[1, 2], [3, 4]]]),
    ],
)
def test_points_are_on_the_object_unless_labelled(points: Any, coords: Any) -> None:
    prompts = make_prompts(points=points)

    assert prompts.coords.tolist() == coords
    assert (prompts.labels == 1).all()
    assert prompts.labels.shape == prompts.coords.shape[:2]


def test_labels_follow_the_points() -> None:
    assert make_prompts(points=[[1, 2], [3, 4]], labels=[1, 0]).labels.tolist() == [[1], [0]]
    assert make_prompts(points=[[[1, 2], [3, 4]]], labels=[[1, 0]]).labels.tolist() == [[1, 0]]


@pytest.mark.parametrize(("kind", "points"), [("boxes", 2), ("points", 1)])
def test_an_empty_list_is_no_prompts(kind: str, points: int) -> None:
    prompts = make_prompts(**{kind: []})

    assert prompts.coords.shape == (0, points, 2)
    assert prompts.labels.shape == (0, points)
    assert prompts.rows == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "boxes, points or both"),
        ({"boxes": [[1, 2, 3, 4]], "points": [[1, 2], [3, 4]]}, "as many boxes as points"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [1]}, "labels go with points"),
        ({"boxes": [[1, 2, 3]]}, r"\[N, 4\]"),
        ({"boxes": [[[1, 2, 3, 4]]]}, r"\[N, 4\]"),
        ({"boxes": [[1, 2, 3, 4], [1, 2]]}, "rows of equal length"),
        ({"boxes": [["a", 2, 3, 4]]}, "rows of equal length"),
        ({"boxes": [[1, 2, 3, float("nan")]]}, "finite"),
        ({"points": [[1, 2, 3]]}, r"\[N, 2\]"),
        ({"points": 5}, r"\[N, 2\]"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "labels must have the shape"),
    ],
)
def test_prompts_that_no_service_could_use_are_refused(
    arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        make_prompts(**arguments)


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 5), (1, 1), (1, 300, 3), (300, 1, 3)])
def test_an_array_becomes_a_png_of_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_a_view_of_an_array_becomes_a_png_of_what_it_shows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    view = pixels[::-2, :, ::-1]

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(view)))), view)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_png(pixels)


def test_other_things_are_no_image() -> None:
    with pytest.raises(TypeError, match="not int"):
        read_image(5)  # type: ignore[arg-type]


def test_a_missing_file_is_the_callers_own_error() -> None:
    with pytest.raises(FileNotFoundError):
        read_image("no/such/file.jpg")


def test_only_http_text_is_a_url() -> None:
    assert is_url("HTTPS://example.com/a.png")
    assert not is_url("photo.jpg")
    assert not is_url(b"http://example.com")
