"""The book of the soak: what was sent, what came of it, and which promises were broken."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.exchanges import Exchange
from loadtest.soak.trials import BUSY, Group, Question, Trial

SETTLE_S = 10.0
"""So long after recovery, requests may still be refused: some waited through the fault, and after
a burst the gateway lets nobody wait for long until the burst is past."""
ACCEPTED_S = 0.5
"""A connection made this long after a worker was killed may still have been given to it."""

Verdict = Literal["right", "busy", "cut by a kill", "left", "wrong"]
VERDICTS: tuple[Verdict, ...] = ("right", "busy", "cut by a kill", "left", "wrong")
_EXAMPLES_KEPT = 40
_EXAMPLES_ALIKE = 3
"""Kept of those with the same problem in the same fault."""


@dataclass
class Trouble:
    """A stretch of time in which a fault may be felt; times are `time.monotonic`."""

    fault: str
    started: float
    cuts_rest: bool = False
    """Whether the fault kills whom REST callers are connected to."""
    ended: float | None = None

    def touches(self, exchange: Exchange) -> bool:
        """Whether some of a request's time was in the stretch."""
        end = float("inf") if self.ended is None else self.ended + SETTLE_S
        return exchange.sent <= end and exchange.ended >= self.started


@dataclass
class Row:
    """One kind of traffic."""

    group: Group
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers by status."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Of right answers."""


@dataclass(frozen=True)
class Wrong:
    """A broken promise of one request."""

    after_s: float
    """Since the start."""
    kind: str
    problem: str
    fault: str
    """Which was under way, if any."""


class Ledger:
    """Counts for all callers; their threads share it."""

    def __init__(self, expected: ExpectedMasks[Question]) -> None:
        self.expected = expected
        self.started = time.monotonic()
        self.rows: dict[str, Row] = {}
        self.troubles: list[Trouble] = []
        self.wrong: list[Wrong] = []
        """The first of them, few that are alike."""
        self.refusal_seconds: list[float] = []
        """How long refusals of a burst's requests took."""
        self.unfinished = 0
        """Requests that were under way when the soak was interrupted."""
        self._closed = False
        self._lock = threading.Lock()

    def total(self, verdict: Verdict) -> int:
        """Requests with a verdict."""
        with self._lock:
            return sum(row.verdicts[verdict] for row in self.rows.values())

    @property
    def sent(self) -> int:
        """All requests."""
        with self._lock:
            return sum(row.sent for row in self.rows.values())

    @property
    def answered(self) -> int:
        """All answers, of any status."""
        with self._lock:
            return sum(row.statuses.total() for row in self.rows.values())

    def close(self) -> None:
        """What ends from now on was interrupted, and says nothing."""
        self._closed = True

    def note_sent(self, trial: Trial) -> None:
        """Count a request before it is sent."""
        with self._lock:
            self._row(trial).sent += 1

    def note_end(self, trial: Trial, exchange: Exchange) -> Verdict:
        """Judge what came of a request."""
        with self._lock:
            row = self._row(trial)
            if exchange.end == "answered":
                row.statuses[exchange.status] += 1
            elif self._closed:
                row.sent -= 1
                self.unfinished += 1
                return "left"
            verdict, problem = self._judge(trial, exchange)
            row.verdicts[verdict] += 1
            if verdict == "right":
                row.seconds.append(exchange.seconds)
            elif verdict == "busy" and exchange.status in (429, 503) and trial.in_burst:
                self.refusal_seconds.append(exchange.seconds)
            elif verdict == "wrong":
                faults = ", ".join(t.fault for t in self.troubles if t.touches(exchange))
                wrong = Wrong(exchange.ended - self.started, trial.kind, problem, faults)
                self._keep_example(wrong)
            return verdict

    def open_trouble(self, fault: str, *, cuts_rest: bool = False) -> Trouble:
        """From now on the fault may be felt, until `ended` is set."""
        trouble = Trouble(fault, time.monotonic(), cuts_rest)
        with self._lock:
            self.troubles.append(trouble)
        return trouble

    def _row(self, trial: Trial) -> Row:
        return self.rows.setdefault(trial.kind, Row(trial.group))

    def _keep_example(self, wrong: Wrong) -> None:
        alike = sum((w.problem, w.fault) == (wrong.problem, wrong.fault) for w in self.wrong)
        if alike < _EXAMPLES_ALIKE and len(self.wrong) < _EXAMPLES_KEPT:
            self.wrong.append(wrong)

    def _judge(self, trial: Trial, exchange: Exchange) -> tuple[Verdict, str]:
        problem = trial.problem(exchange, self.expected)
        if problem is None:
            return ("left" if exchange.end in ("left", "cut") else "right"), ""
        troubles = [trouble for trouble in self.troubles if trouble.touches(exchange)]
        if exchange.end == "cut" and any(_was_cut_by(trouble, exchange) for trouble in troubles):
            return "cut by a kill", ""
        if not troubles or trial.never_busy:
            return "wrong", problem
        if trial.protocol == "gRPC" and (exchange.end == "cut" or exchange.status >= 500):
            return "busy", ""  # Nobody stands between these callers and a process that dies.
        if exchange.status not in BUSY:
            return "wrong", problem
        if exchange.status != 504 and "retry-after" not in exchange.headers:
            return "wrong", f"status {exchange.status} without Retry-After"
        return "busy", ""


def _was_cut_by(trouble: Trouble, exchange: Exchange) -> bool:
    """Whether a broken connection was one of a worker that was killed just then."""
    killed = trouble.started
    return trouble.cuts_rest and exchange.sent <= killed + ACCEPTED_S and exchange.ended >= killed
