"""Who goes to Triton now, who waits, and who is refused at once.

Each of Triton's stages has one instance, and an engine uses all CPUs that it is given. More
requests at once therefore do not finish more of them, they only make each slower; so few run, and
the others wait here, first come first served, where they can still leave and be refused.

What is bounded is not the length of the queue but the time in it, as far as it can be known: the
rest of what runs, and an average turn for each that waits. A short burst may wait long. But when
much more is offered than can be done, and than is answered (`_OVERLOAD` times, over `_WINDOW_S`,
and still over `_MOMENT_S`), a long queue would help nobody: as many would be refused, and the
others answered late. Then only who would wait for a part of one turn is let in, so that those who
are answered are answered nearly as fast as by an idle server. (Callers who wait for their answers
are no overload, however few the server can take at once: as many requests come as are answered.
Nor are a few who, once refused, ask again at once and without end: no more can wait than have a
connection.)
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from ovseg.settings import Settings
from ovseg_gateway.errors import OverloadedError
from ovseg_gateway.metrics import Metrics

_WINDOW_S = 5.0
_MOMENT_S = 1.0
"""A burst that is over must not be held against those who come after it."""
_OVERLOAD = 1.5
_NEWEST_SHARE = 0.2
"""Of the latest turn in the average."""


class _Lately:
    """A sum of which each part counts less and less with time, by 1/e in `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._sum, self._at = 0.0, time.monotonic()

    def add(self, amount: float) -> None:
        self._sum, self._at = self.value + amount, time.monotonic()

    def take_back(self, amount: float, added_at: float) -> None:
        """Undo an `add` of a moment ago, as of `time.monotonic`."""
        rest = amount * math.exp((added_at - time.monotonic()) / self._window_s)
        self._sum, self._at = max(self.value - rest, 0.0), time.monotonic()

    @property
    def value(self) -> float:
        return self._sum * math.exp((self._at - time.monotonic()) / self._window_s)


class _Traffic:
    """Requests, lately."""

    def __init__(self, window_s: float) -> None:
        self.arrived, self.answered = _Lately(window_s), _Lately(window_s)


@dataclass(slots=True)
class Place:
    """One admitted request: it waits, then it runs."""

    admission: Admission
    runs: bool = False

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[None]:
        """Run the block when those who came before have had their turn.

        Args:
            kind: requests of one kind take about the same time.
        """
        async with self.admission._turn(self, kind):
            yield


class Admission:
    """The queue in front of Triton, of one gateway process."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Start empty; `OVSEG_MAX_RUNNING` and the settings after it are the limits."""
        self._max_running = settings.max_running
        self._most_admitted = settings.max_running + settings.max_waiting
        self._max_wait_s = settings.max_wait_s
        self._overload_wait_turns = settings.overload_wait_turns
        self._metrics = metrics
        self._turns = asyncio.Semaphore(self._max_running)
        self._running: dict[int, tuple[str, float]] = {}
        """By the place's id: its kind, and when its turn began."""
        self._waiting = 0
        self._seconds: dict[str, float] = {}
        """Average length of a turn of each kind, and of all together under ""."""
        self._offered = _Lately(_WINDOW_S)
        """Seconds of work that came, by the average then."""
        self._traffic = _Traffic(_WINDOW_S), _Traffic(_MOMENT_S)
        self._connections = math.inf
        """Open when the latest request came."""

    def arrive(self, connections: float = math.inf) -> float:
        """Count a new request, and refuse it if it would wait too long.

        Args:
            connections: how many are open now; each has one request at a time.

        Returns:
            When it came, for `withdraw`.

        Raises:
            OverloadedError: says when to come back.
        """
        self._offered.add(self._average(""))
        for traffic in self._traffic:
            traffic.arrived.add(1)
        self._connections = connections
        self.check()
        return time.monotonic()

    def withdraw(self, arrived_at: float) -> None:
        """Do not count a request any more: it turned out to want nothing of Triton."""
        self._offered.take_back(self._average(""), arrived_at)
        for traffic in self._traffic:
            traffic.arrived.take_back(1, arrived_at)

    def count_answer(self) -> None:
        """Count a request that had its turn."""
        for traffic in self._traffic:
            traffic.answered.add(1)

    def check(self) -> None:
        """Refuse a request that would wait too long if it came now.

        Raises:
            OverloadedError: says when to come back.
        """
        wait_s = self.expected_wait_s()
        limit_s = self._max_wait_s
        if self.is_overloaded:
            limit_s = min(limit_s, self._overload_wait_turns * self._average(""))
        # Who has a place and does not run yet may be about to.
        if self._admitted >= self._most_admitted or wait_s > limit_s:
            raise OverloadedError(math.ceil(wait_s))

    @property
    def _admitted(self) -> int:
        return self._waiting + len(self._running)

    @property
    def is_overloaded(self) -> bool:
        """Whether far more has come lately than can be done, was answered, and could wait."""
        can_be_done = _WINDOW_S * self._max_running
        return (
            self._connections > self._most_admitted
            and self._offered.value > _OVERLOAD * can_be_done
            and all(
                traffic.arrived.value > _OVERLOAD * (traffic.answered.value + self._admitted)
                for traffic in self._traffic
            )
        )

    def expected_wait_s(self) -> float:
        """How long a request that came now would probably wait for its turn."""
        if self._admitted < self._max_running:
            return 0.0
        now = time.monotonic()
        # What is late already will take about as long again.
        rests = [abs(self._average(kind) - (now - began)) for kind, began in self._running.values()]
        rests += [0.0] * (self._max_running - len(rests))
        rounds, position = divmod(self._waiting, self._max_running)
        return sorted(rests)[position] + rounds * self._average("")

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Let a request in while the block runs.

        If it leaves the block while it has its turn, the turn goes on.

        Raises:
            OverloadedError: it would wait too long.
        """
        self.check()
        place = Place(self)
        self._wait_changes(1)
        try:
            yield place
        finally:
            if not place.runs:
                self._wait_changes(-1)
                place.runs = True  # Nobody is left to count for.

    @asynccontextmanager
    async def _turn(self, place: Place, kind: str) -> AsyncIterator[None]:
        async with self._turns:
            if not place.runs:
                place.runs = True
                self._wait_changes(-1)
            began = time.monotonic()
            self._running[id(place)] = (kind, began)
            self._metrics.running.inc()
            try:
                yield
                self._learn(kind, time.monotonic() - began)
            finally:
                del self._running[id(place)]
                self._metrics.running.dec()

    def _wait_changes(self, by: int) -> None:
        self._waiting += by
        self._metrics.waiting.inc(by)

    def _average(self, kind: str) -> float:
        return self._seconds.get(kind, self._seconds.get("", 0.0))

    def _learn(self, kind: str, seconds: float) -> None:
        for name in (kind, ""):
            known = self._seconds.get(name, seconds)
            self._seconds[name] = known + _NEWEST_SHARE * (seconds - known)
