"""Predictions made from masks, without a service."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pycocotools.mask
from ovseg_client import Prediction, Rle

Mask = npt.NDArray[np.bool_]


def rle_of(mask: Mask) -> Rle:
    """A mask as pycocotools encodes it."""
    encoded = pycocotools.mask.encode(np.asfortranarray(mask, np.uint8))
    return Rle(size=list(mask.shape), counts=encoded["counts"].decode())


def prediction_of(*masks: Mask, scores: npt.ArrayLike | None = None) -> Prediction:
    """A prediction of masks of one size: a prompt each, or candidates where scores are [N, M]."""
    rles = [rle_of(mask) for mask in masks]
    given = np.asarray([0.5] * len(masks) if scores is None else scores, np.float32)
    each = given.shape[1] if given.ndim == 2 else 1
    rows = [rles[i : i + each] for i in range(0, len(rles), each)]
    return Prediction(
        rles=rows if given.ndim == 2 else rles,
        scores=given,
        size=masks[0].shape if masks else (0, 0),
    )
