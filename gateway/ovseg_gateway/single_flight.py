"""Concurrent requests for one new image: one of them has it encoded, the others wait for that.

Triton's response cache has no single flight: it would encode the image for each of them. Here the
others wait until the first is answered, and then find the embedding in the cache. Images that were
answered lately are not waited for, so requests for a hot image still run side by side.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ovseg_gateway.image_locks import ImageLocks

_SUSPENSION_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """One request's turn."""

    digest: bytes
    waited_s: float | None = None
    """Seconds it waited for another request; None if it did not wait."""
    is_first: bool = True
    """Whether its image has to be encoded, as far as anybody knows."""


@dataclass(slots=True)
class _Flight:
    """The first request for an image, under way."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    succeeded: bool = False


class SingleFlight:
    """Decides which requests may go on at once."""

    def __init__(self, remembered: int, locks: ImageLocks | None = None) -> None:
        """Start with no image known.

        Args:
            remembered: how many images Triton's cache can hold; 0: it has none, nobody waits.
            locks: extends this to other gateway processes.
        """
        self._remembered = remembered
        self._locks = locks
        self._flights: dict[bytes, _Flight] = {}
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._suspended_until = float("-inf")

    @asynccontextmanager
    async def turn(self, ensemble: str, image_id: str) -> AsyncIterator[Turn]:
        """Run the block when it is this request's turn.

        If the first request for an image fails, the next of those that wait becomes the first. If
        it succeeds, all others go on together.

        Args:
            ensemble: the Triton model; two models share no embedding.
            image_id: of the image file, whose bytes are what the cache's key is made of.
        """
        if not self._remembered or time.monotonic() < self._suspended_until:
            yield Turn(b"")
            return
        turn = Turn(_digest(ensemble, image_id))
        flight = await self._wait(turn)
        if flight is None:
            turn.is_first = False
            yield turn
            return
        try:
            holds_lock = await self._lock(turn)
            try:
                yield turn
            finally:
                if holds_lock and self._locks:
                    self._locks.release(turn.digest)
            flight.succeeded = True
            self._remember(turn.digest)
        finally:
            del self._flights[turn.digest]
            flight.over.set()

    def note_encoded(self, turn: Turn) -> None:
        """Learn that Triton had to encode this request's image.

        After waiting for just that it should not have had to: the embedding is larger than the
        cache, or is thrown out at once. Then waiting only costs time, and is given up for a while.
        """
        if turn.waited_s is not None:
            logger.warning("embeddings do not stay in Triton's cache: is it large enough?")
            self._suspended_until = time.monotonic() + _SUSPENSION_S

    def close(self) -> None:
        """Give back the locks."""
        if self._locks:
            self._locks.close()

    async def _wait(self, turn: Turn) -> _Flight | None:
        """Wait for those before; a flight of its own if there is nobody, None to go on at once."""
        started = time.perf_counter()
        while turn.digest not in self._known:
            earlier = self._flights.get(turn.digest)
            if earlier is None:
                self._flights[turn.digest] = flight = _Flight()
                return flight
            await earlier.over.wait()
            turn.waited_s = time.perf_counter() - started
            if earlier.succeeded:
                return None
        self._known.move_to_end(turn.digest)
        return None

    async def _lock(self, turn: Turn) -> bool:
        """Wait for other processes; whether they should now wait for this one."""
        if self._locks is None:
            return False
        started = time.perf_counter()
        if not await self._locks.acquire(turn.digest):
            return True
        # The other process has had it encoded: no reason to keep a third one waiting.
        turn.waited_s = (turn.waited_s or 0.0) + time.perf_counter() - started
        self._locks.release(turn.digest)
        return False

    def _remember(self, digest: bytes) -> None:
        self._known[digest] = None
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)


def _digest(ensemble: str, image_id: str) -> bytes:
    return hashlib.blake2b(f"{image_id}\0{ensemble}".encode(), digest_size=16).digest()
