"""Checking, scaling and grouping of prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.prompts import Prompts


def prompts(coords: object, labels: object) -> Prompts:
    return Prompts(np.asarray(coords, np.float32), np.asarray(labels, np.int32))


def test_coordinates_move_as_the_image_is_resized() -> None:
    scaled = prompts([[[500, 375]]], [[1]]).scaled((750, 1000), 1024)
    np.testing.assert_allclose(scaled.coords, [[[512, 384]]])


def test_a_box_is_two_tokens_and_a_point_is_a_point_and_a_padding() -> None:
    mixed = prompts([[[1, 2], [3, 4]], [[5, 6], [0, 0]]], [[2, 3], [1, -1]])
    ((index, group),) = mixed.groups()
    assert index.tolist() == [0, 1]
    assert group.labels.tolist() == [[2, 3], [1, -1]]


def test_padding_that_a_caller_added_does_not_count() -> None:
    padded = prompts([[[1, 2], [3, 4], [9, 9], [9, 9]]], [[2, 3, -1, -1]])
    ((_, group),) = padded.groups()
    assert group.labels.tolist() == [[2, 3]]


def test_points_come_before_corners_whatever_the_callers_order() -> None:
    ((_, group),) = prompts([[[9, 9], [1, 1], [0, 0]]], [[3, 0, 2]]).groups()
    assert group.labels.tolist() == [[0, 2, 3]]
    assert group.coords.tolist() == [[[1, 1], [0, 0], [9, 9]]]


def test_prompts_of_different_lengths_form_groups_that_keep_their_rows() -> None:
    three = prompts(
        [[[1, 1], [2, 2], [3, 3]], [[4, 4], [5, 5], [0, 0]], [[6, 6], [7, 7], [8, 8]]],
        [[1, 1, 0], [2, 3, -1], [1, 0, 1]],
    )
    groups = {tuple(index): group.labels.tolist() for index, group in three.groups()}
    assert groups == {(1,): [[2, 3]], (0, 2): [[1, 1, 0, -1], [1, 0, 1, -1]]}


@pytest.mark.parametrize(
    ("coords", "labels", "field"),
    [
        ([[[1, 2]]], [[1, 1]], "point_coords"),
        ([[[1, np.nan]]], [[1]], "point_coords"),
        ([[[np.inf, 2]]], [[1]], "point_coords"),
        ([[[1e7, 2]]], [[1]], "point_coords"),
        ([[[1, 2]]] * 9, [[1]] * 9, "point_coords"),
        ([[[1, 2]]], [[4]], "point_labels"),
        ([[[1, 2]]], [[-1]], "point_labels"),
        ([[[1, 2], [3, 4]]], [[2, 1]], "point_labels"),
        ([[[1, 2], [3, 4], [5, 6], [7, 8]]], [[2, 3, 2, 3]], "point_labels"),
    ],
)
def test_impossible_prompts_are_refused_naming_the_tensor(
    coords: object, labels: object, field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        prompts(coords, labels).check(max_prompts=8, max_coordinate=1e6)


def test_no_prompts_are_fine() -> None:
    none = prompts(np.zeros((0, 2, 2)), np.zeros((0, 2)))
    none.check(8, 1e6)
    assert list(none.groups()) == []


@given(
    coords=arrays(
        np.float32,
        array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements=st.floats(width=32) | st.floats(-100, 100, width=32),
    ),
    labels=arrays(
        np.int32, array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.integers(-2, 4)
    ),
    fits=st.booleans(),
)
def test_whatever_passes_the_check_can_be_scaled_and_grouped(
    coords: NDArray[np.float32], labels: NDArray[np.int32], fits: bool
) -> None:
    if fits and labels.ndim == 2:  # else the shapes hardly ever go together
        coords = np.resize(coords, (*labels.shape, 2))
    given_prompts = Prompts(coords, labels)
    try:
        given_prompts.check(max_prompts=3, max_coordinate=100)
    except InvalidInputError as error:
        assert error.field in ("point_coords", "point_labels")
        return
    assert np.isfinite(coords).all()
    scaled = given_prompts.scaled((30, 40), 1024)
    assert np.isfinite(scaled.coords).all()
    rows = [row for index, _ in scaled.groups() for row in index.tolist()]
    assert sorted(rows) == list(range(len(labels)))
