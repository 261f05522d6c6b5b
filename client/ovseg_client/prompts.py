"""What callers pass as `boxes`, `points` and `labels`, checked and in SAM's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

BOX_CORNERS = (2, 3)
FOREGROUND = 1


@dataclass(frozen=True, eq=False)
class Prompts:
    """N prompts of P points each, in pixels of the image."""

    kind: Literal["box", "point"]
    coords: npt.NDArray[np.float64]
    """x, y: [N, P, 2]; a box is its top-left and its bottom-right corner."""
    labels: npt.NDArray[np.int32]
    """SAM's labels [N, P]: 1 on the object, 0 not on it, 2 and 3 a box's corners, -1 unused."""

    @property
    def rows(self) -> list[list[float]]:
        """[N][2P]: the rows of the REST request."""
        n, points, _ = self.coords.shape
        rows: list[list[float]] = self.coords.reshape(n, 2 * points).tolist()
        return rows

    @property
    def fit_rest(self) -> bool:
        """Whether REST can say it: boxes, or one point on the object for each mask."""
        return self.kind == "box" or (
            self.labels.shape[1] == 1 and bool((self.labels == FOREGROUND).all())
        )


def make_prompts(
    boxes: npt.ArrayLike | None = None,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
) -> Prompts:
    """Check the prompts of one request.

    Args:
        boxes: [N, 4], x0 y0 x1 y1; or [4] for one box.
        points: [N, 2], one point for each mask; [2] for one; or [N, P, 2], P points for each mask.
        labels: [N] or [N, P] for `points`; 1 for all of them when missing.

    Raises:
        ValueError: both boxes and points or neither, or shapes that do not fit.
    """
    if (boxes is None) == (points is None):
        raise ValueError("give either boxes or points")
    if boxes is not None:
        if labels is not None:
            raise ValueError("labels go with points, not with boxes")
        return _boxes(_numbers("boxes", boxes))
    assert points is not None
    return _points(_numbers("points", points), labels)


def _boxes(boxes: npt.NDArray[np.float64]) -> Prompts:
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    boxes = np.atleast_2d(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have the shape [N, 4], not {list(boxes.shape)}")
    labels = np.tile(np.array(BOX_CORNERS, np.int32), (len(boxes), 1))
    return Prompts("box", boxes.reshape(-1, 2, 2), labels)


def _points(points: npt.NDArray[np.float64], labels: npt.ArrayLike | None) -> Prompts:
    if points.size == 0:
        points = points.reshape(0, 1, 2)
    if points.ndim == 1:
        points = points[None]
    if points.ndim == 2:
        points = points[:, None]
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(
            f"points must have the shape [N, 2] or [N, P, 2], not {list(points.shape)}"
        )
    shape = points.shape[:2]
    if labels is None:
        return Prompts("point", points, np.full(shape, FOREGROUND, np.int32))
    given = np.asarray(labels, np.int32)
    if given.size != points.size // 2:
        raise ValueError(f"labels must have the shape {list(shape)}, not {list(given.shape)}")
    return Prompts("point", points, given.reshape(shape))


def _numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        numbers = np.asarray(values, np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"{name} must be numbers in rows of equal length") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite numbers")
    return numbers
