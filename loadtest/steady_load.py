"""Callers who ask all the time while something is done to the service, and all that they saw.

Every request needs no more than the service has: what is refused or broken is what was done to it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.known_answer import KnownAnswer, pause_after
from loadtest.soak.exchanges import Addresses, Exchange, grpc, post
from ovseg.bench.workload import Request, make_photo, prompt_rows, unseen

READY_EVERY_S = 0.05
_PROBE_EVERY_S = 0.1

_KINDS = ((False, True), (True, True), (False, False))
"""Whether a request has an image that no server has seen, and wants a picture; in turn."""


@dataclass(frozen=True)
class Look:
    """One look at `/health/ready`; times are `time.monotonic`."""

    sent: float
    ended: float
    status: int
    """0: the connection broke."""


class SteadyLoad:
    """Use as a context manager; on leaving it, callers wait for their last answers."""

    def __init__(self, addresses: Addresses, callers: int = 3, grpc_callers: int = 0) -> None:
        """Learn the masks of a quiet service.

        Args:
            addresses: where it is.
            callers: who ask the gateway, one request after the other, each on a new connection.
            grpc_callers: who ask Triton.

        Raises:
            ValueError: it does not answer.
        """
        self.exchanges: list[Exchange] = []
        """Of the gateway's callers, in the order of their ends."""
        self.grpc_exchanges: list[Exchange] = []
        """Of Triton's."""
        self.looks: list[Look] = []
        self._addresses = addresses
        self._photo = make_photo()
        self._rows = prompt_rows("box", 1)
        self._answer = KnownAnswer(self._post(is_new=False, picture=False))
        self.wrong = self._answer.wrong
        """Masks other than those of the quiet service."""
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [
            *(self._caller(self._ask, self.exchanges) for _ in range(callers)),
            *(self._caller(self._ask_triton, self.grpc_exchanges) for _ in range(grpc_callers)),
            threading.Thread(target=self._look),
        ]

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Ask nothing more, and wait for what was asked."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more requests have succeeded.

        Raises:
            TimeoutError: they have not.
        """

        def succeeded() -> int:
            return sum(exchange.status == 200 for exchange in list(self.exchanges))

        wanted = succeeded() + count
        deadline = time.monotonic() + timeout_s
        while succeeded() < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {count} answers within {timeout_s:g} s")
            time.sleep(0.02)

    def wait_whole(self, since: float, timeout_s: float = 60.0) -> float | None:
        """Wait until a request that needs every stage succeeds and `/health/ready` says so.

        Args:
            since: when what is to be recovered from was done.
            timeout_s: after which to give up.

        Returns:
            Seconds since then; None: not in time.
        """
        while time.monotonic() - since < timeout_s:
            probe = self._answer.checked(self._post(is_new=True, picture=True))
            ready = self._look_once()
            if probe.status == 200 and ready.status == 200:
                return ready.ended - since
            time.sleep(_PROBE_EVERY_S)
        return None

    def between(self, start: float, end: float) -> list[Exchange]:
        """The gateway's callers' requests that were under way at some time in between."""
        return [e for e in list(self.exchanges) if e.ended >= start and e.sent <= end]

    def _caller(self, ask: Callable[[], Exchange], exchanges: list[Exchange]) -> threading.Thread:
        def call() -> None:
            while not self._over.is_set():
                found = ask()
                exchanges.append(found)
                self._over.wait(pause_after(found))

        return threading.Thread(target=call)

    def _ask(self) -> Exchange:
        is_new, picture = _KINDS[next(self._numbers) % len(_KINDS)]
        return self._answer.checked(self._post(is_new, picture))

    def _ask_triton(self) -> Exchange:
        is_new, picture = _KINDS[next(self._numbers) % len(_KINDS)]
        image = unseen(self._photo) if is_new else self._photo
        return self._answer.checked(grpc(self._addresses, image, "box", self._rows, picture))

    def _post(self, is_new: bool, picture: bool) -> Exchange:
        image = unseen(self._photo) if is_new else self._photo
        return post(self._addresses, Request(image, "box", self._rows, picture).body())

    def _look(self) -> None:
        while not self._over.wait(READY_EVERY_S):
            self.looks.append(self._look_once())

    def _look_once(self) -> Look:
        found = post(self._addresses, b"", {}, method="GET", path="/health/ready")
        return Look(found.sent, found.ended, found.status)


def summary(exchanges: list[Exchange]) -> Counter[str]:
    """How many requests ended how: a status, or "cut" and "hung"."""
    return Counter(str(e.status or e.end) for e in exchanges)
