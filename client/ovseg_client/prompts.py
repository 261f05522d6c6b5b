"""What callers pass as `boxes`, `points` and `labels`, checked and in SAM's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

BOX_CORNERS = (2, 3)
BACKGROUND, FOREGROUND = 0, 1


@dataclass(frozen=True, eq=False)
class Prompts:
    """N prompts of P points each, in pixels of the image."""

    kind: Literal["box", "point", "both"]
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
    def fit_rows(self) -> bool:
        """Whether rows can say it: boxes, or one point on the object for each mask."""
        return self.kind == "box" or (
            self.labels.shape[1] == 1 and bool((self.labels == FOREGROUND).all())
        )

    @property
    def items(self) -> list[dict[str, Any]]:
        """[N]: `prompts` of the REST request, which can say everything."""
        return [_item(*pair) for pair in zip(self.coords, self.labels, strict=True)]


def make_prompts(
    boxes: npt.ArrayLike | None = None,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
) -> Prompts:
    """Check the prompts of one request.

    Args:
        boxes: [N, 4], x0 y0 x1 y1; or [4] for one box.
        points: [N, 2], one point for each mask; [2] for one; or [N, P, 2], P points for each mask.
            With `boxes` too, each mask has a box and its points.
        labels: [N] or [N, P] for `points`; 1 for all of them when missing, -1 for no point.

    Raises:
        ValueError: neither boxes nor points, or shapes that do not fit.
    """
    if points is None:
        if boxes is None:
            raise ValueError("give boxes, points or both")
        if labels is not None:
            raise ValueError("labels go with points, not with boxes")
        return _boxes(_numbers("boxes", boxes))
    found = _points(_numbers("points", points), labels)
    if boxes is None:
        return found
    corners = _boxes(_numbers("boxes", boxes))
    if len(corners.labels) != len(found.labels):
        raise ValueError(
            f"there must be as many boxes as points, not {len(corners.labels)} and "
            f"{len(found.labels)}"
        )
    return Prompts(
        "both",
        np.concatenate([found.coords, corners.coords], axis=1),
        np.concatenate([found.labels, corners.labels], axis=1),
    )


def _item(coords: npt.NDArray[np.float64], labels: npt.NDArray[np.int32]) -> dict[str, Any]:
    """One prompt, coords [P, 2] and labels [P], as REST has it."""
    is_point = np.isin(labels, (BACKGROUND, FOREGROUND))
    item: dict[str, Any] = {}
    if is_point.any():
        item |= {"points": coords[is_point].tolist(), "labels": labels[is_point].tolist()}
    if np.isin(BOX_CORNERS, labels).all():
        item["box"] = [*coords[labels == BOX_CORNERS[0]][0], *coords[labels == BOX_CORNERS[1]][0]]
    return item


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
