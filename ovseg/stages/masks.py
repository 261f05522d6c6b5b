"""Low-res mask logits -> COCO RLE at the size of the original image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovseg.stages import interpolation
from ovseg.stages.image import input_size_of

Floats = NDArray[np.float32]

# OpenCV and Paddle place a sample up to a few 1e-4 of a cell apart (float32 positions in the
# thousands) and round differently. A logit farther from 0 than these shares has a certain sign.
_DOUBT_PER_STEP = 2e-3
_DOUBT_PER_MAGNITUDE = 1e-5


def upsample_mask(
    low_res_mask: Floats, side: int, original_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Upsample one low-res mask and threshold it at 0.

    The result equals, bit for bit, PaddleX's two steps (bilinear to [side, side], crop to the
    image's part, bilinear to the original size, > 0), but is several times faster: OpenCV
    upsamples, and only pixels whose logit is too near 0 to trust are computed Paddle's way.

    Args:
        low_res_mask: float32 [h, w] logits (256 x 256 for SAM).
        side: the model's input size in pixels.
        original_size: (height, width) of the original image.

    Returns:
        bool [height, width] in Fortran (column-major) order, as RLE wants it.
    """
    height, width = original_size
    input_size = input_height, input_width = input_size_of(original_size, side)
    if min(original_size) == 1:  # Paddle's rule for a single row or column is not OpenCV's.
        return _upsample_exactly(low_res_mask, side, input_size, original_size)
    # Transposed all the way: the rows here are the mask's columns, which RLE runs along.
    low_res_t = np.ascontiguousarray(low_res_mask.T)
    padded_t = cv2.resize(low_res_t, (side, side), interpolation=cv2.INTER_LINEAR)
    cropped_t = padded_t[:input_width, :input_height]
    logits_t = cv2.resize(cropped_t, (height, width), interpolation=cv2.INTER_LINEAR)
    mask_t: NDArray[np.bool_] = logits_t > 0

    doubtful = np.abs(logits_t) <= _doubt(low_res_mask)
    columns, rows = np.nonzero(doubtful)
    if len(rows) * 16 > mask_t.size:  # Sixteen reads a pixel: everything at once is cheaper.
        return _upsample_exactly(low_res_mask, side, input_size, original_size)
    exact = interpolation.two_step_at(low_res_mask, side, input_size, original_size, rows, columns)
    mask_t[columns, rows] = exact > 0
    return mask_t.T


def _upsample_exactly(
    low_res_mask: Floats, side: int, input_size: tuple[int, int], original_size: tuple[int, int]
) -> NDArray[np.bool_]:
    padded = interpolation.resize(low_res_mask, side, side)
    cropped = padded[: input_size[0], : input_size[1]]
    return np.asfortranarray(interpolation.resize(cropped, *original_size) > 0)


def _doubt(low_res_mask: Floats) -> float:
    steepest = max(
        float(np.abs(np.diff(low_res_mask, axis=0)).max(initial=0)),
        float(np.abs(np.diff(low_res_mask, axis=1)).max(initial=0)),
    )
    return _DOUBT_PER_STEP * steepest + _DOUBT_PER_MAGNITUDE * float(np.abs(low_res_mask).max())


def encode_rle(mask: NDArray[np.bool_]) -> bytes:
    """COCO compressed RLE counts of one mask, as `pycocotools.mask.encode` writes them.

    Args:
        mask: bool [H, W], fastest in Fortran order.
    """
    counts: bytes = coco_mask.encode(np.asfortranarray(mask).view(np.uint8))["counts"]
    return counts


def decode_rle(counts: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of COCO compressed RLE counts: bool [H, W] for size (H, W)."""
    mask: NDArray[np.uint8] = coco_mask.decode({"counts": counts, "size": list(size)})
    return mask.view(np.bool_)


def low_res_masks_to_rle(
    low_res_masks: Floats, side: int, original_size: tuple[int, int]
) -> NDArray[np.object_]:
    """RLE counts of every mask, one full-size mask in memory at a time.

    Args:
        low_res_masks: float32 [N, M, h, w] logits.
        side: the model's input size in pixels.
        original_size: (height, width) of the original image.

    Returns:
        object [N, M] of bytes.
    """
    counts = np.empty(low_res_masks.shape[:2], np.object_)
    for index in np.ndindex(*counts.shape):
        counts[index] = encode_rle(upsample_mask(low_res_masks[index], side, original_size))
    return counts
