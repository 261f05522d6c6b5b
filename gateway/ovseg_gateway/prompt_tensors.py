"""Prompts as Triton's models take them: SAM's points and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ovseg_gateway.schemas import PromptItem

PromptType = Literal["box", "point"]

# SAM's point labels (segment_anything/modeling/prompt_encoder.py).
_CORNERS = (2, 3)
_FOREGROUND, _PADDING = 1, -1
_LABELS = {"point": (_FOREGROUND,), "box": _CORNERS}


@dataclass(frozen=True, slots=True, eq=False)
class PromptTensors:
    """N prompts of up to P points each."""

    coords: npt.NDArray[np.float32]
    """x, y in pixels of the image, [N, P, 2]."""
    labels: npt.NDArray[np.int32]
    """[N, P]: 1 on the object, 0 not on it, 2 and 3 a box's corners, -1 no point."""
    kinds: frozenset[PromptType]
    """What a model must take to answer them."""


def of_rows(rows: Sequence[Sequence[float]], prompt_type: PromptType) -> PromptTensors:
    """N boxes [x0, y0, x1, y1] or N points [x, y], in pixels."""
    labels = np.asarray(_LABELS[prompt_type], np.int32)
    coords = np.asarray(rows, np.float32).reshape(len(rows), len(labels), 2)
    return PromptTensors(coords, np.tile(labels, (len(rows), 1)), frozenset([prompt_type]))


def of_items(items: Sequence[PromptItem]) -> PromptTensors:
    """N prompts of points, a box, or both."""
    points = [[*item.points, *_corners(item)] for item in items]
    labels = [[*item.labels_of_points, *(_CORNERS if item.box else ())] for item in items]
    most = max(map(len, points), default=1)
    coords = np.zeros((len(items), most, 2), np.float32)
    kinds_of_points = np.full((len(items), most), _PADDING, np.int32)
    for i, row in enumerate(points):
        coords[i, : len(row)] = row
        kinds_of_points[i, : len(row)] = labels[i]
    kinds: set[PromptType] = set()
    if any(item.box for item in items):
        kinds.add("box")
    if any(item.points for item in items) or not items:
        kinds.add("point")
    return PromptTensors(coords, kinds_of_points, frozenset(kinds))


def _corners(item: PromptItem) -> list[list[float]]:
    return [item.box[:2], item.box[2:]] if item.box else []
