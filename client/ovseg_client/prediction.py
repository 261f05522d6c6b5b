"""The result of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypedDict

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

    @property
    def flat_rles(self) -> list[Rle]:
        """The masks one after the other, [N] or [N * M]: a prompt's candidates are neighbours."""
        flat: list[Rle] = []
        for entry in self.rles:
            flat.extend(entry if isinstance(entry, list) else [entry])
        return flat

    @property
    def chosen(self) -> Prediction:
        """The same with one mask a prompt: of three candidates the one with the highest score."""
        if self.scores.ndim == 1:
            return self
        rows, best = np.arange(len(self.scores)), self.best
        return replace(
            self,
            rles=_picked(self.rles, best),
            scores=self.scores[rows, best],
            mask_ids=None if self.mask_ids is None else _picked(self.mask_ids, best),
            low_res_masks=None if self.low_res_masks is None else self.low_res_masks[rows, best],
        )

    @cached_property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Boolean masks [N, H, W] or [N, M, H, W], decoded at first use."""
        shape = (*self.scores.shape, *self.size)
        flat = self.flat_rles
        if not flat:
            return np.zeros(shape, np.bool_)
        decoded = pycocotools.mask.decode(flat)  # uint8 [H, W, N * M]
        return np.ascontiguousarray(decoded.transpose(2, 0, 1)).astype(np.bool_).reshape(shape)

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of each mask, [N] or [N, M]; the masks are not decoded."""
        areas = np.asarray(pycocotools.mask.area(self.flat_rles), np.int64)
        return areas.reshape(self.scores.shape)

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """COCO's box x, y, width, height around each mask in pixels, [N, 4] or [N, M, 4].

        All zero where a mask is empty; the masks are not decoded.
        """
        boxes = np.asarray(pycocotools.mask.toBbox(self.flat_rles), np.int64)
        return boxes.reshape(*self.scores.shape, 4)


def _picked(rows: Sequence[Any], columns: npt.NDArray[np.intp]) -> list[Any]:
    return [row[column] for row, column in zip(rows, columns, strict=True)]
