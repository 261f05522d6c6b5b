"""Stopping without losing a request.

First `/health/ready` turns 503, so that callers go elsewhere, and requests are still taken for
`drain_delay_s`. Then new ones are refused with 503 while those under way finish, for at most
`drain_timeout_s`; what is left then is answered with 503 instead of a broken connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import ShuttingDownError, error_response
from ovseg_gateway.middleware import send_then_drain

_STATUS_PATHS = ("/health", "/metrics")
_POLL_S = 0.02


class Draining:
    """How far the application is on its way out."""

    def __init__(self, delay_s: float = 0.0, timeout_s: float = 0.0) -> None:
        """Nothing happens until `drain`.

        Args:
            delay_s: how long requests are still taken.
            timeout_s: how long requests under way may take after that.
        """
        self._delay_s = delay_s
        self._timeout_s = timeout_s
        self._hurry = asyncio.Event()
        self.is_draining = False
        """Whether `/health/ready` answers 503."""
        self.is_refusing = False
        """Whether new requests are refused."""
        self.is_over = False
        """Whether requests under way are answered with 503."""
        self.under_way: set[asyncio.Task[Any]] = set()

    async def drain(self) -> None:
        """Go all the way; returns when no request is under way."""
        self.is_draining = True
        await self._wait_hurried(self._delay_s)
        self.is_refusing = True
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while self.under_way and asyncio.get_running_loop().time() < deadline:
            if await self._wait_hurried(_POLL_S):
                break
        self.is_over = True
        for task in list(self.under_way):
            task.cancel()
        while self.under_way:
            await asyncio.sleep(_POLL_S)

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurry.set()

    async def _wait_hurried(self, seconds: float) -> bool:
        """Wait, unless there is a hurry; whether there is."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        return self._hurry.is_set()


class DrainingMiddleware:
    """Refuses what comes too late, and knows what is under way."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_STATUS_PATHS):
            await self._app(scope, receive, send)
            return
        if self._draining.is_refusing:
            await _refuse(scope, receive, send)
            return
        has_begun = False

        async def send_watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        self._draining.under_way.add(task)
        try:
            await self._app(scope, receive, send_watched)
        except asyncio.CancelledError:
            if has_begun or not self._draining.is_over:
                raise
            await _refuse(scope, receive, send)
        finally:
            self._draining.under_way.discard(task)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    context: RequestContext = scope["state"]["context"]
    refusal = ShuttingDownError()
    context.refusal = refusal.reason
    answer = error_response(context, refusal.status_code, str(refusal), refusal.headers)

    async def send_all(message: Message) -> None:
        await send_then_drain(message, receive, send)

    await answer(scope, receive, send_all)
