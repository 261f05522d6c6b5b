"""Refuses what is too much before it is read: a refusal must cost next to nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg.settings import Settings
from ovseg_gateway.admission import Admission
from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import (
    GatewayError,
    OverloadedError,
    RecoveringError,
    SlowBodyError,
    error_response,
)
from ovseg_gateway.http_protocol import OPEN_CONNECTIONS
from ovseg_gateway.metrics import Metrics
from ovseg_gateway.rate_limit import RateLimit


class AdmissionMiddleware:
    """Bounds segmentation requests by number, rate and expected wait, and all bodies by memory.

    A refused body is not read; the HTTP server throws it away as it comes, so that the caller
    reads the refusal and can use the connection again.
    """

    def __init__(
        self, app: ASGIApp, path: str, settings: Settings, admission: Admission, metrics: Metrics
    ) -> None:
        """Guard POST requests to `path`; requests to others only count by their bodies."""
        self._app = app
        self._path = path
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._rate_limit = RateLimit(settings.rate_limit)
        self._max_held = max(settings.max_held_bytes, settings.max_body_bytes)
        self._held = 0
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_guarded = scope["path"] == self._path and scope["method"] == "POST"
        context: RequestContext = scope["state"]["context"]
        arrived_at = 0.0
        if is_guarded:
            try:
                arrived_at = self._check(scope)
            except GatewayError as refusal:
                context.refusal = refusal.reason
                if isinstance(refusal, OverloadedError):
                    await asyncio.sleep(self._settings.refusal_delay_s)
                answer = error_response(context, refusal.status_code, str(refusal), refusal.headers)
                await answer(scope, receive, send)
                return
        with self._opened(is_guarded), self._holding(context, receive) as receive_held:
            await self._app(scope, receive_held, send)
        if is_guarded and _took_no_turn(context):
            self._admission.withdraw(arrived_at)
        elif is_guarded and context.refusal != OverloadedError.reason:
            self._admission.count_answer()

    def _check(self, scope: Scope) -> float:
        self._rate_limit.count(scope)
        arrived_at = self._admission.arrive(scope["state"].get(OPEN_CONNECTIONS, math.inf))
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0
        is_too_large = size > self._settings.max_body_bytes  # Refused as such, elsewhere.
        if self._open >= self._settings.max_open_requests or (
            self._held + size > self._max_held and not is_too_large
        ):
            raise OverloadedError
        return arrived_at

    @contextmanager
    def _opened(self, is_guarded: bool) -> Iterator[None]:
        self._open += is_guarded
        try:
            yield
        finally:
            self._open -= is_guarded

    @contextmanager
    def _holding(self, context: RequestContext, receive: Receive) -> Iterator[Receive]:
        """A `receive` that counts the body's bytes, as held until the block ends."""
        is_complete = False
        refusal: GatewayError | None = None

        async def receive_held() -> Message:
            nonlocal is_complete, refusal
            if refusal:
                raise refusal
            if is_complete:
                return await receive()  # Only tells that the caller leaves.
            try:
                with anyio.fail_after(self._settings.body_timeout_s - context.elapsed):
                    message = await receive()
            except TimeoutError:
                refusal = SlowBodyError()
                raise refusal from None
            size = len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            context.received_bytes += size
            self._hold(size)
            if self._held > self._max_held:
                refusal = OverloadedError()
                raise refusal
            return message

        try:
            yield receive_held
        finally:
            self._hold(-context.received_bytes)

    def _hold(self, size: int) -> None:
        self._held += size
        self._metrics.held_bytes.inc(size)


def _took_no_turn(context: RequestContext) -> bool:
    """Whether a request was over before it got to Triton, and not because too many others did."""
    if context.refusal == RecoveringError.reason:
        return True
    is_refused_early = context.refusal is not None and "triton" not in context.durations
    return is_refused_early and context.refusal != OverloadedError.reason
