"""What the server under load must answer: the same masks as when nobody else asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pycocotools import mask as coco_mask

LOWEST_IOU = 0.99
"""Of two runs of the same network; threads may add numbers in another order."""

Box = tuple[float, float, float, float]
Rle = Mapping[str, Any]
Question = TypeVar("Question", bound=Hashable)


class ExpectedMasks(Generic[Question]):
    """Asks each question once, and compares what comes later with that."""

    def __init__(self, lowest_iou: float = LOWEST_IOU) -> None:
        self._lowest_iou = lowest_iou
        self._masks: dict[Question, Sequence[Rle]] = {}
        self.same_texts = 0
        """Masks so far with the very RLE text that was expected."""
        self.other_texts = 0
        """Masks so far whose RLE text was another one, however near."""
        self.lowest_seen = 1.0
        """Their lowest IoU."""

    def learn(
        self, questions: Iterable[Question], ask: Callable[[Question], Sequence[Rle]]
    ) -> None:
        """Remember the masks of an idle server."""
        for question in questions:
            self._masks[question] = ask(question)

    def problem(self, question: Question, found: Sequence[Rle]) -> str | None:
        """What is wrong with the masks that answer a question; None if nothing is."""
        masks = self._masks[question]
        if len(found) != len(masks):
            return f"{len(found)} masks for {len(masks)} prompts"
        problems = map(self._problem_of_mask, masks, found)
        return next((problem for problem in problems if problem), None)

    def _problem_of_mask(self, expected: Rle, mask: Rle) -> str | None:
        if list(mask["size"]) != list(expected["size"]):
            return f"a mask of {mask['size']} where {expected['size']} was expected"
        if mask["counts"] == expected["counts"]:
            self.same_texts += 1
            return None
        iou = float(coco_mask.iou([mask], [expected], [0])[0, 0])
        self.other_texts += 1
        self.lowest_seen = min(self.lowest_seen, iou)
        if iou >= self._lowest_iou:
            return None
        return f"another mask than expected: IoU {iou:.5f}"
