"""Pure ASGI middleware: request context, metrics, Server-Timing, and the limit of a body's size."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_gateway.context import attach_context
from ovseg_gateway.errors import BodyTooLargeError, InferenceFailedError, error_response
from ovseg_gateway.metrics import Metrics

logger = logging.getLogger(__name__)


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
        status = 0

        async def send_timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["Server-Timing"] = context.server_timing()
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_timed)
            except ClientDisconnect:
                logger.info("the caller left, logId=%r", context.short_log_id)
            except Exception:
                logger.exception("unhandled error, logId=%r", context.short_log_id)
                if status:
                    raise
                failure = InferenceFailedError()
                response = error_response(context, failure.status_code, str(failure))
                await response(scope, receive, send_timed)
            finally:
                self._metrics.observe(_route_of(scope), status, context)
        logger.debug(
            "%s %s -> %d in %.1f ms, logId=%r",
            scope["method"],
            scope["path"],
            status,
            context.elapsed * 1e3,
            context.short_log_id,
        )


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
        too_large = declared.isdecimal() and int(declared) > self._limit
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            if too_large:
                raise BodyTooLargeError(self._limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise BodyTooLargeError(self._limit)
            return message

        await self._app(scope, receive_limited, send)


def _route_of(scope: Scope) -> str:
    """The path template that matched, so that strangers' paths make no new metric series."""
    route = scope.get("route")
    return getattr(route, "path", "other")
