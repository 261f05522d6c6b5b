"""Upsampling to exact pixels, and RLE."""

from __future__ import annotations

import cv2
import numpy as np
import paddle
import paddle.nn.functional as functional
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovseg.stages import masks
from ovseg.stages.image import input_size_of

SIZES = [(750, 1000), (1000, 750), (256, 256), (1, 2000), (2000, 1), (1, 1), (1536, 2047), (61, 37)]


def paddlex_mask(
    low_res: NDArray[np.float32], side: int, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """PaddleX's SAMProcessor.postprocess, step by step, with Paddle itself."""
    height, width = input_size_of(size, side)
    logits = functional.interpolate(
        paddle.to_tensor(low_res[None, None]), (side, side), mode="bilinear", align_corners=False
    )
    logits = functional.interpolate(
        logits[..., :height, :width], size, mode="bilinear", align_corners=False
    )
    mask: NDArray[np.bool_] = (logits > 0).numpy()[0, 0]
    return mask


def logits_like(kind: str, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((256, 256)).astype(np.float32)
    if kind == "noise":
        return noise
    if kind == "smooth":
        return cv2.GaussianBlur(noise, (0, 0), 9) * 60
    if kind == "ties":  # whole regions exactly at the threshold
        return np.round(cv2.GaussianBlur(noise, (0, 0), 9) * 12).astype(np.float32)
    if kind == "large":  # an offset that makes float32 coarse around zero
        return (cv2.GaussianBlur(noise, (0, 0), 20) * 1e4).astype(np.float32)
    return np.zeros((256, 256), np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["noise", "smooth", "ties", "large", "zero"])
def test_masks_equal_paddles_two_steps_bit_for_bit(kind: str, size: tuple[int, int]) -> None:
    for side in (1024, 512):
        low_res = logits_like(kind, seed=side + sum(size))
        np.testing.assert_array_equal(
            masks.upsample_mask(low_res, side, size), paddlex_mask(low_res, side, size)
        )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 1000))
def test_masks_equal_paddles_for_any_size(height: int, width: int, seed: int) -> None:
    low_res = logits_like("smooth", seed)
    np.testing.assert_array_equal(
        masks.upsample_mask(low_res, 1024, (height, width)),
        paddlex_mask(low_res, 1024, (height, width)),
    )


def test_opencvs_error_is_well_below_what_counts_as_doubtful() -> None:
    # The fast path is right only if every pixel that OpenCV may get wrong is computed again.
    for seed in range(6):
        low_res = logits_like("smooth" if seed % 2 else "noise", seed)
        fast = cv2.resize(cv2.resize(low_res, (1024, 1024))[:768], (1733, 1300))
        logits = functional.interpolate(
            paddle.to_tensor(low_res[None, None]),
            (1024, 1024),
            mode="bilinear",
            align_corners=False,
        )
        exact = functional.interpolate(
            logits[..., :768, :], (1300, 1733), mode="bilinear", align_corners=False
        )
        error = float(np.abs(fast - exact.numpy()[0, 0]).max())
        assert error * 3 < masks._doubt(low_res)


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_rle_is_what_pycocotools_writes_and_decodes_back(mask: NDArray[np.bool_]) -> None:
    counts = masks.encode_rle(mask)
    assert counts == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    np.testing.assert_array_equal(masks.decode_rle(counts, mask.shape), mask)


def test_every_candidate_of_every_prompt_gets_its_counts() -> None:
    low_res = np.stack([[logits_like("smooth", 3 * i + j) for j in range(3)] for i in range(2)])
    counts = masks.low_res_masks_to_rle(low_res, 1024, (75, 100))
    assert counts.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        expected = paddlex_mask(low_res[i, j], 1024, (75, 100))
        np.testing.assert_array_equal(masks.decode_rle(counts[i, j], (75, 100)), expected)


def test_no_prompts_give_no_counts() -> None:
    counts = masks.low_res_masks_to_rle(np.zeros((0, 1, 256, 256), np.float32), 1024, (75, 100))
    assert counts.shape == (0, 1)
