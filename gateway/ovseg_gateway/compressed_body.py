"""Compressed request bodies: inflated as they stream in, no further than a body may be large."""

from __future__ import annotations

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_gateway.errors import (
    BodyTooLargeError,
    DamagedBodyError,
    GatewayError,
    UnsupportedEncodingError,
)
from ovseg_gateway.middleware import send_then_drain

SUPPORTED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_STEP_BYTES = 256 * 1024


class CompressedBodyMiddleware:
    """Inflates bodies with `Content-Encoding: gzip` or `deflate`, up to `limit` bytes.

    Other encodings, and several on top of each other, are refused with 415.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encodings = _encodings(scope) if scope["type"] == "http" else []
        if not encodings:
            await self._app(scope, receive, send)
            return
        body = _InflatedBody(encodings, receive, self._limit)

        async def send_checked(message: Message) -> None:
            if body.is_left_unread:
                await send_then_drain(message, receive, send)
            else:
                await send(message)

        await self._app(scope, body.receive, send_checked)


class _InflatedBody:
    """An ASGI `receive` whose messages are inflated, each to at most `_STEP_BYTES`."""

    def __init__(self, encodings: list[str], receive: Receive, limit: int) -> None:
        self._refusal: GatewayError | None = None
        self._encodings = encodings
        self._receive = receive
        self._limit = limit
        self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._compressed = b""
        self._has_more = True
        self._inflated_bytes = 0
        self._is_complete = False

    @property
    def is_left_unread(self) -> bool:
        """Whether the body was refused before its end."""
        return self._refusal is not None and self._has_more

    async def receive(self) -> Message:
        """The next part of the inflated body, or the refusal again; see `_next_part`."""
        if self._refusal:
            raise self._refusal
        try:
            return await self._next_part()
        except GatewayError as refusal:
            self._refusal = refusal
            raise

    async def _next_part(self) -> Message:
        """The next part of the inflated body.

        Raises:
            UnsupportedEncodingError: not one of `SUPPORTED`.
            BodyTooLargeError: inflated, the body is larger than the limit.
            DamagedBodyError: not one whole gzip or zlib stream.
        """
        if self._is_complete:
            return await self._receive()
        if len(self._encodings) > 1 or self._encodings[0] not in SUPPORTED:
            raise UnsupportedEncodingError(SUPPORTED[0], SUPPORTED[-1])
        while True:
            if not self._compressed and self._has_more:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message  # The caller has left.
                self._compressed = message.get("body", b"")
                self._has_more = message.get("more_body", False)
            inflated = self._inflate()
            is_drained = not self._compressed and len(inflated) < _STEP_BYTES
            self._is_complete = is_drained and not self._has_more
            if self._is_complete and not self._inflater.eof:
                raise DamagedBodyError(self._encodings[0])
            if inflated or self._is_complete:
                await asyncio.sleep(0)  # Others' requests have their turn between the steps.
                more = not self._is_complete
                return {"type": "http.request", "body": inflated, "more_body": more}

    def _inflate(self) -> bytes:
        try:
            inflated = self._inflater.decompress(self._compressed, _STEP_BYTES)
        except zlib.error:
            raise DamagedBodyError(self._encodings[0]) from None
        self._compressed = self._inflater.unconsumed_tail
        self._inflated_bytes += len(inflated)
        if self._inflated_bytes > self._limit:
            raise BodyTooLargeError(self._limit)
        if self._inflater.unused_data:
            raise DamagedBodyError(self._encodings[0])
        return inflated


def _encodings(scope: Scope) -> list[str]:
    """The encodings of a request's body, without `identity`, which is none."""
    listed = ",".join(Headers(scope=scope).getlist("content-encoding")).lower().split(",")
    return [name for name in (part.strip() for part in listed) if name not in ("", "identity")]
