"""The same prompt on the same picture always, so that there is one right answer."""

from __future__ import annotations

from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.exchanges import Exchange

_COME_BACK_S = 0.5
_QUESTION = "one box"


class KnownAnswer:
    """The masks of the first answer, with which all later ones are compared."""

    def __init__(self, first: Exchange) -> None:
        """Learn them.

        Raises:
            ValueError: it has none.
        """
        if first.rles is None:
            raise ValueError(f"no masks to compare with: {first.status} {first.message}")
        masks = [dict(rle) for rle in first.rles]
        self._expected: ExpectedMasks[str] = ExpectedMasks()
        self._expected.learn([_QUESTION], lambda _: masks)
        self.wrong: list[str] = []
        """What is wrong with masks that are others."""

    def checked(self, found: Exchange) -> Exchange:
        """The same exchange; if its masks are wrong, `wrong` has grown."""
        if found.status == 200:
            problem = self._expected.problem(_QUESTION, found.rles or [])
            if problem:
                self.wrong.append(problem)
        return found


def pause_after(last: Exchange) -> float:
    """Seconds until a caller asks again: who was refused when he was told to, others at once.

    After a broken connection, or where Triton refuses, nobody is told.
    """
    return 0.0 if last.status == 200 else float(last.headers.get("retry-after", _COME_BACK_S))
