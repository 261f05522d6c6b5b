"""What callers do, and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.exchanges import Addresses, Exchange

Group = Literal["good", "bad", "hostile"]
Protocols = Literal["REST", "gRPC"]

BUSY = frozenset({429, 503, 504})
"""Refusals for lack of capacity or time; only around a fault."""


@dataclass(frozen=True)
class Question:
    """What masks are compared by: the same question has the same masks."""

    photo: str
    prompts: str


@dataclass(frozen=True)
class Trial:
    """One request of one kind, ready to be sent."""

    kind: str
    """A row of the report."""
    group: Group
    send: Callable[[Addresses], Exchange]
    statuses: Collection[int] = (200,)
    """Any of them is right."""
    loc: str = ""
    """A refusal must name this field, e.g. `body.prompt[0]`."""
    question: Question | None = None
    """The masks of a 200 must be this one's."""
    may_be_cut: bool = False
    """Whether the service may hang up without an answer (half-closed connections, garbage)."""
    never_busy: bool = False
    """Whether it must be answered in the middle of a fault, too."""
    in_burst: bool = False
    """Whether it is one of many sent at once over REST, so that a refusal's time is the gateway's
    alone."""
    protocol: Protocols = "REST"

    def problem(self, exchange: Exchange, expected: ExpectedMasks[Question]) -> str | None:
        """What is wrong with an answer of a service that is not busy; None if nothing is."""
        if exchange.end == "left" or (exchange.end == "cut" and self.may_be_cut):
            return None
        if exchange.end != "answered":
            return exchange.message
        if exchange.status not in self.statuses:
            return f"status {exchange.status}: {exchange.message[:200]}"
        if exchange.status == 200:
            if self.question is None:
                return None
            return expected.problem(self.question, exchange.rles or [])
        if self.loc and self.loc not in exchange.message:
            return f"the refusal does not name {self.loc}: {exchange.message[:200]}"
        return None


class Traffic(Protocol):
    """A source of trials."""

    def next(self, numbers: random.Random) -> Trial:
        """Another trial, chosen by these random numbers."""
        ...
