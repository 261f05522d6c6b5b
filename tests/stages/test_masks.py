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

SIZES = [
    (750, 1000),
    (1000, 750),
    (256, 256),
    (1, 2000),
    (2000, 1),
    (1, 1),
    (1536, 2047),
    (61, 37),
    (5, 1800),
]
KINDS = ["noise", "smooth", "ties", "large", "zero", "everything", "band", "tiny", "subnormal"]


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
    if kind == "everything":
        return np.abs(noise) + 1
    if kind == "band":  # from one border to the other, and nothing else
        return np.where(np.abs(np.arange(256) - 90) < 30, noise + 5, noise - 5).astype(np.float32)
    if kind == "tiny":  # one cell
        noise = -np.abs(noise)
        noise[100 + seed % 50, 20 + seed % 70] = 3
        return noise
    if kind == "subnormal":  # products with weights that float32 cannot hold
        return np.where(noise > -1, noise * np.float32(1e-44), noise).astype(np.float32)
    return np.zeros((256, 256), np.float32)


def paddlex_counts(low_res: NDArray[np.float32], side: int, size: tuple[int, int]) -> bytes:
    mask = np.asfortranarray(paddlex_mask(low_res, side, size).view(np.uint8))
    counts: bytes = coco_mask.encode(mask)["counts"]
    return counts


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_those_of_paddles_two_steps(kind: str, size: tuple[int, int]) -> None:
    for side in (1024, 512, 256):
        low_res = logits_like(kind, seed=side + sum(size))
        counts = masks.low_res_masks_to_rle(low_res[None, None], side, size)
        assert counts[0, 0] == paddlex_counts(low_res, side, size)
        np.testing.assert_array_equal(
            masks.upsample_mask(low_res, side, size), paddlex_mask(low_res, side, size)
        )


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.sampled_from([1024, 512]),
    st.floats(2, 40),
    st.floats(-3, 3),
    st.integers(0, 1000),
)
def test_counts_equal_paddles_for_any_size_and_shape(
    height: int, width: int, side: int, blur: float, shift: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).standard_normal((256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    low_res = (smooth / smooth.std() + np.float32(shift)) * 8
    counts = masks.low_res_masks_to_rle(low_res[None, None], side, (height, width))
    assert counts[0, 0] == paddlex_counts(low_res, side, (height, width))


@pytest.mark.parametrize("size", [(1300, 1733), (750, 1000), (37, 61)])
def test_the_error_of_what_is_nearly_right_is_well_below_what_counts_as_doubtful(
    size: tuple[int, int],
) -> None:
    # A tile is right only if every pixel that rounding may get wrong is computed again.
    two_step = masks.two_step_of((256, 256), 1024, size)
    for seed, kind in enumerate(["noise", "smooth", "large"]):
        low_res = logits_like(kind, seed)
        rows, columns = two_step.rows.windows, two_step.columns.windows
        everywhere = np.ones((len(rows.start), len(columns.start)), np.bool_)
        for i, j in two_step.batches(everywhere):
            nearly, allowed = two_step.nearly_within(low_res, i, j)
            tile, column, row = (index.ravel() for index in np.indices(nearly.shape))
            exact = two_step.exactly_at(
                low_res, row + rows.start[i[tile]], column + columns.start[j[tile]]
            )
            error = np.abs(nearly - exact.reshape(nearly.shape)).max(axis=(1, 2))
            assert (error * 3 < allowed).all()


@given(
    arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))),
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
)
def test_a_region_is_encoded_as_pycocotools_encodes_the_mask(
    bits: NDArray[np.bool_], margins: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = margins
    mask = np.pad(bits, ((top, bottom), (left, right)))
    region = masks.Region(np.pad(bits.T, ((0, 0), (1, 1))), left, top)
    counts = masks.encode_region(region, mask.shape)
    assert counts == coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
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
