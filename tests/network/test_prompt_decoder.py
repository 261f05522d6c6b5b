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
def embedding() -> NDArray[np.float32]:
    shape = (1, *VARIANTS["sam_tiny"].embedding_shape)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def run(
    engine: PaddleEngine,
    embedding: NDArray[np.float32],
    coords: Any,
    labels: Any,
    masks: NDArray[np.float32] | None = None,
    has_mask: Any = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    count = len(labels)
    if masks is None:
        masks = np.zeros((count, MASK_SIZE, MASK_SIZE), np.float32)
    low_res_masks, iou_predictions = engine.run(
        embedding=embedding,
        point_coords=np.array(coords, np.float32),
        point_labels=np.array(labels, np.int32),
        mask_input=masks,
        has_mask_input=np.array([0] * count if has_mask is None else has_mask, np.float32),
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
    random = np.random.default_rng(2)
    coords = random.uniform(0, 1024, (3, 2, 2))
    labels = [[1, -1], [2, 3], [0, 1]]
    masks_in = random.normal(0, 4, (3, MASK_SIZE, MASK_SIZE)).astype(np.float32)
    has_mask = [1, 0, 1]
    together, scores = run(engine, embedding, coords, labels, masks_in, has_mask)
    for row in range(3):
        one = slice(row, row + 1)
        alone, score = run(
            engine, embedding, coords[one], labels[one], masks_in[one], has_mask[one]
        )
        np.testing.assert_allclose(together[one], alone, atol=1e-4)
        np.testing.assert_allclose(scores[one], score, atol=1e-4)


def test_an_unused_mask_input_may_hold_anything(
    engine: PaddleEngine, embedding: NDArray[np.float32]
) -> None:
    coords, labels = [[[300, 200], [0, 0]]], [[1, -1]]
    nan = np.full((1, MASK_SIZE, MASK_SIZE), np.nan, np.float32)
    with_nan, _ = run(engine, embedding, coords, labels, nan, [0])
    with_zeros, _ = run(engine, embedding, coords, labels)
    assert (with_nan == with_zeros).all()


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
