"""How well the masks and embeddings of two engines agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of masks of fewer pixels than this, one pixel decides too much.
SMALLEST_JUDGED_PIXELS = 64


@dataclass(frozen=True)
class Bar:
    """How well masks must agree with the reference's to be taken for the same."""

    mean_iou: float
    min_iou: float

    def objection(self, mean: float, lowest: float) -> str:
        """What is wrong, in words; "" if nothing is. NaN is wrong."""
        if not mean >= self.mean_iou:
            return f"mean mask IoU {mean:.4f} is below {self.mean_iou}"
        if not lowest >= self.min_iou:
            return f"lowest mask IoU {lowest:.4f} is below {self.min_iou}"
        return ""


def agreement(
    masks: NDArray[np.float32], expected: NDArray[np.float32], valid: tuple[int, int]
) -> list[float]:
    """IoU of each mask with the one expected.

    Args:
        masks: logits, float32 [N, M, h, w]; above 0 is inside.
        expected: as `masks`.
        valid: rows and columns that count; the rest is padding.

    Returns:
        Where both masks have few pixels together, they count as the same: [N * M] numbers.
    """
    rows, columns = valid
    finite = np.isfinite(masks).all(axis=(2, 3)).ravel()
    ours, theirs = (
        (logits[:, :, :rows, :columns] > 0).reshape(-1, rows * columns)
        for logits in (masks, expected)
    )
    common = (ours & theirs).sum(axis=1)
    either = (ours | theirs).sum(axis=1)
    ious = np.where(either < SMALLEST_JUDGED_PIXELS, 1.0, common / np.maximum(either, 1))
    return [float(iou) for iou in np.where(finite, ious, 0.0)]


def valid_part(input_size: NDArray[np.int32], low_res_side: int, side: int) -> tuple[int, int]:
    """Rows and columns of a low-res mask that belong to the picture.

    Args:
        input_size: height and width of the picture in the model's input, in pixels.
        low_res_side: of the mask, in cells.
        side: of the model's input, in pixels.
    """
    rows, columns = -(-input_size * low_res_side // side)
    return int(rows), int(columns)


def cosine(embedding: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Cosine of the angle between two embeddings of one shape."""
    ours, theirs = embedding.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    return float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)))
