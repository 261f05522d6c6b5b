"""What callers ask for, checked but not yet in any wire format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy.typing as npt

from ovseg_client.images import Image
from ovseg_client.prediction import Prediction
from ovseg_client.prompts import Prompts, make_prompts


class PredictOptions(TypedDict, total=False):
    """Keyword arguments of `predict`; see `Client.predict`."""

    boxes: npt.ArrayLike | None
    points: npt.ArrayLike | None
    labels: npt.ArrayLike | None
    multimask: bool
    keep_masks: bool
    refine: Prediction | None
    visualize: bool
    log_id: str | None
    model: str | None


class PredictArguments(PredictOptions):
    """All arguments of `predict`: one item of `predict_many`."""

    image: Image


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """One checked request; for which image is said beside it."""

    prompts: Prompts
    multimask: bool = False
    keep_masks: bool = False
    refine: Prediction | None = None
    visualize: bool = False
    log_id: str | None = None
    model: str | None = None


def predict_request(
    *,
    boxes: npt.ArrayLike | None = None,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    multimask: bool = False,
    keep_masks: bool = False,
    refine: Prediction | None = None,
    visualize: bool = False,
    log_id: str | None = None,
    model: str | None = None,
) -> PredictRequest:
    """Check the arguments of `Client.predict`.

    Raises:
        ValueError: prompts that no service could use, or another number of them than of masks to
            refine.
    """
    prompts = make_prompts(boxes, points, labels)
    if refine is not None and len(refine.scores) != len(prompts.labels):
        raise ValueError(
            f"refine must have as many masks as there are prompts, not {len(refine.scores)} "
            f"and {len(prompts.labels)}"
        )
    return PredictRequest(prompts, multimask, keep_masks, refine, visualize, log_id, model)
