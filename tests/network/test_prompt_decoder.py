"""The exported prompt decoder: dynamic shapes, and prompts that are independent of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.network.variants import VARIANTS

MASK_SIZE = VARIANTS["sam_tiny"].mask_size


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> PaddleEngine:
    return PaddleEngine(model_dir / "sam_tiny" / "prompt_decoder", threads=2)


@pytest.fixture(scope="module")
def mask_encoder(model_dir: Path) -> PaddleEngine:
    return PaddleEngine(model_dir / "sam_tiny" / "mask_encoder", threads=2)


@pytest.fixture(scope="module")
def embedding() -> NDArray[np.float32]:
    shape = (1, *VARIANTS["sam_tiny"].embedding_shape)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def run(
    engine: PaddleEngine,
    embedding: NDArray[np.float32],
    coords: Any,
    labels: Any,
    mask_index: Any = (0, 1, 2, 3),
) -> tuple[NDArray[Any], NDArray[Any]]:
    low_res_masks, iou_predictions = engine.run(
        embedding=embedding,
        point_coords=np.array(coords, np.float32),
        point_labels=np.array(labels, np.int32),
        mask_index=np.array(mask_index, np.int32),
    )
    return low_res_masks, iou_predictions


def test_takes_any_number_of_prompts_and_points(
    engine: PaddleEngine, embedding: NDArray[np.float32]
) -> None:
    for count, points in ((1, 2), (5, 3), (2, 9), (1, 1)):
        coords = np.random.default_rng(1).uniform(0, 1024, (count, points, 2))
        masks, scores = run(engine, embedding, coords, np.ones((count, points)))
        assert masks.shape == (count, 4, MASK_SIZE, MASK_SIZE)
        assert scores.shape == (count, 4)
        assert np.isfinite(masks).all()


def test_prompts_do_not_touch_each_other(
    engine: PaddleEngine, embedding: NDArray[np.float32]
) -> None:
    coords = np.random.default_rng(2).uniform(0, 1024, (3, 2, 2))
    labels = [[1, -1], [2, 3], [0, 1]]
    together, scores = run(engine, embedding, coords, labels)
    for row in range(3):
        one = slice(row, row + 1)
        alone, score = run(engine, embedding, coords[one], labels[one])
        np.testing.assert_allclose(together[one], alone, atol=1e-4)
        np.testing.assert_allclose(scores[one], score, atol=1e-4)


@pytest.mark.parametrize("mask_index", [[0], [1, 2, 3], [3, 0]])
def test_the_masks_wanted_are_those_of_all_four(
    engine: PaddleEngine, embedding: NDArray[np.float32], mask_index: list[int]
) -> None:
    coords, labels = [[[300, 200], [500, 600]], [[7, 5], [9, 9]]], [[2, 3], [2, 3]]
    every_mask, every_score = run(engine, embedding, coords, labels)
    masks, scores = run(engine, embedding, coords, labels, mask_index)
    assert np.ptp(every_score, axis=1).min() > 1e-3
    np.testing.assert_allclose(masks, every_mask[:, mask_index], atol=1e-4)
    # Products of another number of rows may round otherwise; the scores differ by far more.
    np.testing.assert_allclose(scores, every_score[:, mask_index], atol=1e-5)


def test_each_mask_input_makes_an_embedding_of_its_own(
    mask_encoder: PaddleEngine, embedding: NDArray[np.float32]
) -> None:
    random = np.random.default_rng(2)
    mask_input = random.normal(0, 4, (2, MASK_SIZE, MASK_SIZE)).astype(np.float32)
    (together,) = mask_encoder.run(embedding=embedding, mask_input=mask_input)
    assert together.shape == (2, *embedding.shape[1:])
    assert np.abs(together[0] - together[1]).max() > 0.01
    (alone,) = mask_encoder.run(embedding=embedding, mask_input=mask_input[1:])
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_where_padding_points_are_does_not_matter(
    engine: PaddleEngine, embedding: NDArray[np.float32]
) -> None:
    first, _ = run(engine, embedding, [[[300, 200], [0, 0]]], [[1, -1]])
    second, _ = run(engine, embedding, [[[300, 200], [900, 70]]], [[1, -1]])
    assert (first == second).all()


@pytest.mark.parametrize("labels", [[[0, -1]], [[1, 1]], [[2, 3]]])
def test_labels_matter(
    engine: PaddleEngine, embedding: NDArray[np.float32], labels: list[list[int]]
) -> None:
    coords = [[[300, 200], [500, 600]]]
    reference, _ = run(engine, embedding, coords, [[1, -1]])
    other, _ = run(engine, embedding, coords, labels)
    assert np.abs(reference - other).max() > 0.01
