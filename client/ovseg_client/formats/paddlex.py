"""Masks under the names that PaddleX's server has for them."""

from __future__ import annotations

from typing import TypedDict

from ovseg_client.prediction import Prediction


class PaddlexRle(TypedDict):
    """A mask as in `masks` of an answer of PaddleX's server."""

    rleResult: str
    """COCO's `counts`."""
    size: list[int]
    """Height and width."""


def paddlex_rles(prediction: Prediction) -> list[PaddlexRle]:
    """The masks of N prompts, [N]."""
    return [
        PaddlexRle(rleResult=rle["counts"], size=rle["size"]) for rle in prediction.chosen.flat_rles
    ]
