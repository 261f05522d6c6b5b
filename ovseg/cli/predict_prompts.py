"""What `ovseg predict` is asked to find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer
from ovseg_client import Prediction

BOX_FORM, POINT_FORM = "x0,y0,x1,y1", "x,y"


@dataclass(frozen=True)
class ObjectPrompts:
    """The prompts of one request."""

    boxes: list[list[float]]
    points: list[Any]
    """[x, y] of each object, or of one object [[x, y], …]."""
    labels: list[list[int]] | None
    shown: list[list[float]]
    """The numbers that say which prompt a mask belongs to."""


def read_prompts(
    box: list[str], point: list[str], background: list[str], together: bool
) -> ObjectPrompts:
    """The prompts that options say.

    Args:
        box: `x0,y0,x1,y1` each.
        point: `x,y` each, on objects.
        background: `x,y` each, off the one object.
        together: whether all of them mark one object.

    Raises:
        typer.BadParameter: they say nothing, or what no request can say.
    """
    boxes = [_numbers("--box", text, BOX_FORM) for text in box]
    points = [_numbers("--point", text, POINT_FORM) for text in point]
    others = [_numbers("--background", text, POINT_FORM) for text in background]
    if not boxes and not points and not others:
        raise typer.BadParameter("mark the objects with --box or with --point")
    if not together and not others:
        if boxes and points:
            raise typer.BadParameter(
                "mark the objects with --box or with --point, or one object with both: --together"
            )
        return ObjectPrompts(boxes, points, None, boxes or points)
    if len(boxes) > 1:
        raise typer.BadParameter("one object has one box", param_hint="--box")
    marks = [*points, *others]
    shown = [[number for mark in [*boxes, *marks] for number in mark]]
    if not marks:
        return ObjectPrompts(boxes, [], None, shown)
    return ObjectPrompts(boxes, [marks], [[1] * len(points) + [0] * len(others)], shown)


def kept_masks(mask_ids: list[str]) -> Prediction | None:
    """Masks that an earlier command had the service keep, as `refine=` takes them."""
    if not mask_ids:
        return None
    scores = np.full(len(mask_ids), np.nan, np.float32)
    return Prediction(rles=[], scores=scores, size=(0, 0), mask_ids=mask_ids)


def _numbers(option: str, text: str, form: str) -> list[float]:
    """`10,20.5` -> [10.0, 20.5], as many as `form` has."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(form.split(",")) or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{text!r} is not of the form {form}", param_hint=option)
    return numbers
