"""Callers that do not wait for each other: requests come at a rate, whatever the server does.

As little work as possible for each request, because the server usually runs on the same machine:
bodies are made beforehand, and HTTP/1.1 is written and read as bytes over kept-alive connections.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ovseg.bench.callers import ROUTE

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_LARGEST_ANSWER = 1 << 24


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it."""

    sent_at: float
    """Seconds since the run's start."""
    seconds: float
    """From the first byte sent to the last one received."""
    status: int
    """Of HTTP; 0: there was no answer."""
    retry_after: int | None = None
    failure: str = ""
    """Why there was no answer, or more than one."""


class OpenLoop:
    """A pool of connections to one gateway."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        """Connect later.

        Args:
            base_url: of the gateway, http.
            timeout_s: after which a request counts as lost.
        """
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._timeout_s = timeout_s
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def drive(
        self, next_body: Callable[[], bytes], rate: float, run_s: float
    ) -> list[Exchange]:
        """Send requests at random moments (a Poisson process), and wait for all answers.

        Args:
            next_body: JSON body of the next request; should cost nothing.
            rate: requests a second, on average.
            run_s: how long requests are sent.
        """
        moments = random.Random(1)
        started = time.perf_counter()
        at = 0.0
        tasks = []
        while (at := at + moments.expovariate(rate)) < run_s:
            await asyncio.sleep(max(started + at - time.perf_counter(), 0))
            tasks.append(asyncio.create_task(self.ask(next_body(), started)))
        return list(await asyncio.gather(*tasks))

    async def take_turns(
        self, next_body: Callable[[], bytes], callers: int, requests: int
    ) -> list[Exchange]:
        """Let some callers ask one request after another, that many in all."""
        started = time.perf_counter()
        found: list[Exchange] = []

        async def caller(count: int) -> None:
            for _ in range(count):
                found.append(await self.ask(next_body(), started))

        await asyncio.gather(*(caller(requests // callers) for _ in range(callers)))
        return found

    async def ask(self, body: bytes, started: float) -> Exchange:
        """Send one request; a failure is an exchange too."""
        sent_at = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                status, retry_after = await self._exchange(body)
            failure = ""
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            status, retry_after, failure = 0, None, f"{type(error).__name__}: {error}"
        ended = time.perf_counter()
        return Exchange(sent_at - started, ended - sent_at, status, retry_after, failure)

    def close(self) -> None:
        """Close the idle connections."""
        for _, writer in self._idle:
            writer.close()

    async def _exchange(self, body: bytes) -> tuple[int, int | None]:
        reader, writer = await self._connection()
        is_done = False
        try:
            writer.write(
                f"POST {ROUTE} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json"
                f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            )
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 ") or length is None:
                raise ValueError(f"no HTTP answer: {head[:80]!r}")
            await reader.readexactly(int(length[1]))
            await writer.drain()  # A refusal comes before the server has taken the whole body.
            retry_after = _RETRY_AFTER.search(head)
            is_done = b"\r\nconnection: close" not in head.lower()
            return int(head[9:12]), int(retry_after[1]) if retry_after else None
        finally:
            if is_done:
                self._idle.append((reader, writer))
            else:
                writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                continue
            if reader._buffer:  # type: ignore[attr-defined]
                raise ValueError("the server has sent more than one answer")
            return reader, writer
        return await asyncio.open_connection(self._host, self._port, limit=_LARGEST_ANSWER)
