"""What the server under load must answer: the same masks as when nobody else asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycocotools import mask as coco_mask

LOWEST_IOU = 0.99
"""Of two runs of the same network; threads may add numbers in another order."""

Box = tuple[float, float, float, float]
Rle = dict[str, Any]
Ask = Callable[[Box], Sequence[Rle]]


class ExpectedMasks:
    """Asks once for each box, and compares what comes later with that."""

    def __init__(self) -> None:
        self._masks: dict[Box, Rle] = {}

    def learn(self, boxes: Sequence[Box], ask: Ask) -> None:
        """Remember the masks of an idle server."""
        for box in boxes:
            (self._masks[box],) = ask(box)

    def problem(self, box: Box, found: Sequence[Rle]) -> str | None:
        """What is wrong with the masks of a request for one box; None if nothing is."""
        if len(found) != 1:
            return f"{len(found)} masks for one box"
        expected, mask = self._masks[box], found[0]
        if list(mask["size"]) != list(expected["size"]):
            return f"a mask of {mask['size']} where {expected['size']} was expected"
        if mask["counts"] == expected["counts"]:
            return None
        iou = float(coco_mask.iou([mask], [expected], [0])[0, 0])
        return None if iou >= LOWEST_IOU else f"another mask than expected: IoU {iou:.3f}"
