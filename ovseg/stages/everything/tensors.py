"""Progress and masks as Triton's tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.everything.candidates import Candidates
from ovseg.stages.everything.generate import Found, Progress

Array = NDArray[Any]


def tensors_of(
    item: Progress | Found, draw: Callable[[Candidates], Array] | None
) -> dict[str, Array]:
    """The outputs of one answer: `progress`, or all others.

    Args:
        item: what `find_everything` yields.
        draw: makes `overlay` of the masks; None: nobody wants it.
    """
    if isinstance(item, Progress):
        return {"progress": np.array([item.done, item.total], np.int32)}
    masks = item.masks
    outputs: dict[str, Array] = {**vars(masks), "size": np.array(item.size, np.int32)}
    if draw is not None:
        outputs["overlay"] = draw(masks)
    return outputs
