"""The result of one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pycocotools.mask


class Rle(TypedDict):
    """A mask in COCO's compressed run-length encoding, as pycocotools takes it."""

    size: list[int]
    """Height and width."""
    counts: str


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks for N prompts, in the order of the prompts.

    With `multimask` each prompt has M = 3 candidates, and `rles`, `scores` and `masks` have a
    second axis for them.
    """

    rles: list[Rle] | list[list[Rle]]
    """The masks in run-length encoding, [N] or [N][M]."""
    scores: npt.NDArray[np.float32]
    """The model's estimate of each mask's IoU, [N] or [N, M]; NaN where it makes none."""
    size: tuple[int, int]
    """Height and width of the image, EXIF orientation applied; (0, 0) where REST had no mask."""
    overlay: bytes | None = None
    """JPEG file with the masks drawn, where `visualize` asked for it."""
    log_id: str = ""
    """Names the request in the service's log."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds that the gateway spent on each part; empty over gRPC."""

    mask_ids: list[str] | list[list[str]] | None = None
    """Over REST with `keep_masks`: names of the masks at the service, [N] or [N][M]."""
    low_res_masks: npt.NDArray[np.float32] | None = None
    """Over gRPC with `keep_masks`: logits, [N, 256, 256] or [N, M, 256, 256]."""

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """With `multimask` the index of each prompt's candidate with the highest score, [N]."""
        best: npt.NDArray[np.intp] = np.nan_to_num(self.scores, nan=-np.inf).argmax(axis=-1)
        return best

    @cached_property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Boolean masks [N, H, W] or [N, M, H, W], decoded at first use."""
        shape = (*self.scores.shape, *self.size)
        flat: list[Rle] = []
        for entry in self.rles:
            flat.extend(entry if isinstance(entry, list) else [entry])
        if not flat:
            return np.zeros(shape, np.bool_)
        decoded = pycocotools.mask.decode(flat)  # uint8 [H, W, N * M]
        return np.ascontiguousarray(decoded.transpose(2, 0, 1)).astype(np.bool_).reshape(shape)
