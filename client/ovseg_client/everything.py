"""Everything in an image: what can be chosen, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ovseg_client.prediction import Prediction

Report = Callable[[int, int], object]
"""Takes the numbers of points done and of all points."""


class EverythingOptions(TypedDict, total=False):
    """Keyword arguments of `everything`; see `Client.everything`."""

    points_per_side: int
    points_per_batch: int
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    crop_n_layers: int
    crop_nms_thresh: float
    crop_overlap_ratio: float
    crop_n_points_downscale_factor: int
    min_mask_region_area: int
    visualize: bool
    log_id: str | None
    model: str | None


@dataclass(frozen=True, eq=False)
class EverythingRequest:
    """One request; for which image is said beside it."""

    parameters: Mapping[str, int | float]
    """Those of Meta's generator that are not the service's defaults."""
    visualize: bool = False
    log_id: str | None = None
    model: str | None = None


def everything_request(
    *,
    visualize: bool = False,
    log_id: str | None = None,
    model: str | None = None,
    **parameters: int | float,
) -> EverythingRequest:
    """Check the arguments of `Client.everything`.

    Raises:
        TypeError: there is no such parameter.
    """
    for name in parameters:
        if name not in EverythingOptions.__annotations__:
            raise TypeError(f"everything() got an unexpected keyword argument {name!r}")
    return EverythingRequest(parameters, visualize, log_id, model)


@dataclass(frozen=True, eq=False, kw_only=True)
class Everything(Prediction):
    """K masks, the best first; `scores` is their predicted IoU."""

    stability_scores: npt.NDArray[np.float32]
    """How little each mask hangs on its threshold, [K], 0 to 1; NaN for an empty mask."""
    points: npt.NDArray[np.float32]
    """x, y of the point that found it, [K, 2]."""
    crop_boxes: npt.NDArray[np.int32]
    """x0, y0, x1, y1 of the part of the image that it was found in, [K, 4]."""
