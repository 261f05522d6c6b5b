"""Pure ASGI middleware: request context, metrics, Server-Timing, and the limit of a body's size."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_gateway.access_log import log_access
from ovseg_gateway.context import attach_context
from ovseg_gateway.errors import BodyTooLargeError, InferenceFailedError, error_response
from ovseg_gateway.metrics import Metrics

logger = logging.getLogger(__name__)

CALLER_LEFT = 499
"""In metrics and logs the status where there was nobody left to answer (nginx's number)."""

#: How long, and how far, a refused body is still read. A connection that is closed with unread
#: bytes is reset, and a reset takes the refusal with it before the caller has read it.
DRAIN_SECONDS = 1.0
DRAIN_BYTES = 4 * 1024 * 1024


class InstrumentationMiddleware:
    """Gives each request its context, times it, counts it, and turns a bug into a clean 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        context = attach_context(scope)
        status = sent_bytes = 0

        async def send_timed(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["Server-Timing"] = context.server_timing()
            sent_bytes += len(message.get("body", b""))
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_timed)
            except ClientDisconnect:
                status, context.refusal = CALLER_LEFT, "disconnected"
            except Exception:
                logger.exception("unhandled error")
                if status:
                    raise
                failure = InferenceFailedError()
                response = error_response(context, failure.status_code, str(failure))
                await response(scope, receive, send_timed)
            finally:
                self._metrics.observe(_route_of(scope), status, context)
        log_access(scope["method"], _route_of(scope), status, sent_bytes, context)


class BodyLimitMiddleware:
    """Refuses a body larger than `limit` bytes: by its declared length, or while it streams in."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        declared = Headers(scope=scope).get("content-length", "")
        received = 0
        is_refused = is_complete = False

        async def receive_limited() -> Message:
            nonlocal received, is_refused, is_complete
            if is_refused or (declared.isdecimal() and int(declared) > self._limit):
                is_refused = True
                raise BodyTooLargeError(self._limit)
            message = await receive()
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > self._limit:
                is_refused = True
                raise BodyTooLargeError(self._limit)
            return message

        async def send_checked(message: Message) -> None:
            if is_refused and not is_complete:
                await send_then_drain(message, receive, send)
            else:
                await send(message)

        await self._app(scope, receive_limited, send_checked)


async def send_then_drain(message: Message, receive: Receive, send: Send) -> None:
    """Send a part of a refusal; after the last one, read some of the body that nobody has read."""
    if message["type"] != "http.response.body" or message.get("more_body"):
        await send(message)
        return
    # The whole answer first; the server closes the connection only after the empty rest.
    await send({**message, "more_body": True})
    await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    """Reads and forgets what a refused caller still sends, up to a time and a size."""
    remaining = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while remaining > 0:
                message = await receive()
                remaining -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _route_of(scope: Scope) -> str:
    """The path template that matched, so that strangers' paths make no new metric series."""
    route = scope.get("route")
    return getattr(route, "path", "other")
