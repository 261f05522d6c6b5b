"""The picture: masks, boxes and points drawn over the original image."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg.stages.masks import decode_rle
from ovseg.stages.prompts import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, TOP_LEFT, Prompts

MASK_OPACITY = 0.5
# Distinct on photographs and for the common colour-vision deficiencies (Okabe and Ito's set,
# without black), RGB.
PALETTE = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    np.uint8,
)
_FAR = 1 << 20


def draw_overlay(
    image: NDArray[np.uint8], masks: Iterable[NDArray[np.bool_]], prompts: Prompts
) -> NDArray[np.uint8]:
    """Draw each prompt and its mask in a colour of its own.

    Args:
        image: uint8 [H, W, 3] RGB.
        masks: N of bool [H, W], mask i belongs to prompt i.
        prompts: N prompts in pixels of `image`.

    Returns:
        uint8 [H, W, 3] RGB, a new array.
    """
    picture = image.copy()
    line = max(1, round(max(image.shape[:2]) / 400))
    for i, mask in enumerate(masks):
        _draw_mask(picture, mask, PALETTE[i % len(PALETTE)], line)
    for i in range(len(prompts)):
        color = PALETTE[i % len(PALETTE)]
        _draw_prompt(picture, prompts.coords[i], prompts.labels[i], color, line)
    return picture


def _draw_mask(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], color: NDArray[np.uint8], line: int
) -> None:
    """Tint a mask and draw its outline, in place."""
    # A mask from RLE lies column after column: OpenCV turns it around four times faster.
    by_rows = cv2.transpose(np.ascontiguousarray(mask.T).view(np.uint8))
    # Only the mask's bounding box is touched: most masks are small.
    left, top, width, height = cv2.boundingRect(by_rows)
    if width == 0:
        return
    window = np.s_[top : top + height, left : left + width]
    inside = by_rows[window]
    # OpenCV fills, and mixes with a flat colour, many times faster than NumPy and than a table.
    flat = np.empty((height, width, 3), np.uint8)
    cv2.rectangle(flat, (0, 0), (width, height), color.tolist(), cv2.FILLED)
    tinted = cv2.addWeighted(picture[window], 1 - MASK_OPACITY, flat, MASK_OPACITY, 0)
    cv2.copyTo(tinted, inside, picture[window])
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # Not anti-aliased: that would cost more than all the rest.
    cv2.drawContours(picture, contours, -1, color.tolist(), line, offset=(left, top))


def _draw_prompt(
    picture: NDArray[np.uint8],
    coords: NDArray[np.float32],
    labels: NDArray[np.int32],
    color: NDArray[np.uint8],
    line: int,
) -> None:
    if (labels == TOP_LEFT).any() and (labels == BOTTOM_RIGHT).any():
        corners = (_pixel(coords[labels == TOP_LEFT][0]), _pixel(coords[labels == BOTTOM_RIGHT][0]))
        cv2.rectangle(picture, *corners, color.tolist(), line)
    for point, label in zip(coords, labels, strict=True):
        if label in (FOREGROUND, BACKGROUND):
            # White rim; green inside for foreground, red for background, as SAM's notebooks do.
            inside = (0, 200, 0) if label == FOREGROUND else (220, 0, 0)
            cv2.circle(picture, _pixel(point), 4 * line, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(picture, _pixel(point), 3 * line, inside, -1, cv2.LINE_AA)


def _pixel(point: NDArray[np.float32]) -> tuple[int, int]:
    x, y = np.clip(np.round(point), -_FAR, _FAR).astype(int).tolist()
    return x, y


def encode_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG file of an RGB picture, uint8 [H, W, 3].

    Raises:
        ValueError: a side is over JPEG's 65535 pixels.
    """
    if max(picture.shape[:2]) > 65_535:
        raise ValueError("a JPEG picture has at most 65535 pixels a side")
    written, file = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not written:
        raise ValueError("the picture cannot be encoded as JPEG")
    return file.tobytes()


def draw_best_masks(
    image: NDArray[np.uint8],
    counts: NDArray[np.object_],
    scores: NDArray[np.float32],
    prompts: Prompts,
) -> NDArray[np.uint8]:
    """Draw, for each prompt, its candidate with the highest predicted IoU.

    Args:
        image: uint8 [H, W, 3] RGB.
        counts: object [N, M] of bytes, COCO RLE counts at the image's size.
        scores: float32 [N, M], predicted IoU; NaN where a model predicts none.
        prompts: N prompts in pixels of `image`.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    best = np.nan_to_num(scores, nan=-1).argmax(axis=1) if len(scores) else []
    size = (image.shape[0], image.shape[1])
    masks = (decode_rle(row[i], size) for row, i in zip(counts, best, strict=True))
    return draw_overlay(image, masks, prompts)
