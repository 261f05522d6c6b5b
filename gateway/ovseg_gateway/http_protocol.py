"""HTTP/1.1 as httptools parses it, in C: a request costs a quarter less than by uvicorn's default.

Two things are made up for. httptools keeps whatever comes before a header ends, however much it is:
here that is bounded. And where a client offers another protocol (Java's and curl's HTTP/2 do),
httptools stops behind the head, and uvicorn's protocol for it loses the body: here the offer is
declined, as RFC 9110, section 7.8, allows, and the request is served.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ovseg.settings import Settings
from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import error_response

OPEN_CONNECTIONS = "open_connections"
"""In the state of each request's scope: how many the server has, idle ones too."""
_OF_AN_OFFER = frozenset({b"upgrade", b"http2-settings", b"connection"})


class HttpProtocol(HttpToolsProtocol):
    """One connection. `OVSEG_MAX_HEAD_BYTES` bounds what is neither body nor a complete head."""

    max_head_bytes: int
    """Of a request line with its headers, or of the trailers behind a body."""
    _pending_bytes = 0
    """Received since the last part of a request that was complete."""

    def data_received(self, data: bytes) -> None:
        """Parse what came; more than a head may have ends the connection with 431."""
        self._unset_keepalive_if_required()
        self._pending_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._pending_bytes > self.max_head_bytes and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        """Begin a request, unless it has to be read again without an offer."""
        self._pending_bytes = 0
        if not self.parser.should_upgrade():
            self.scope["state"][OPEN_CONNECTIONS] = len(self.connections)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which `BodyLimitMiddleware` bounds."""
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._pending_bytes = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _parse(self, data: bytes) -> None:
        """Feed the parser; behind the head of an offer goes on as if it had not been made."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                head = self._head_without_offer()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn.
                data = head + data[offer.args[0] :]

    def _head_without_offer(self) -> bytes:
        """The head that was parsed last, with nothing in it but what concerns HTTP/1.1.

        Raises:
            HttpParserError: it is a CONNECT, which asks for nothing else.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("CONNECT")
        options = [value for name, value in self.headers if name == b"connection"]
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode("ascii"))]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] not in _OF_AN_OFFER]
        if any(b"close" in value.lower() for value in options):
            lines.append(b"connection: close")
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self) -> None:
        message = f"The request's head is larger than {self.max_head_bytes} bytes"
        body = error_response(RequestContext(), 431, message).body
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(b"".join((head.encode("ascii"), body)))
        self.transport.close()


def http_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.Config`: this protocol with its limit, and its event loop."""
    limits = {"max_head_bytes": settings.max_head_bytes}
    limited = type("LimitedHttpProtocol", (HttpProtocol,), limits)
    return {"http": limited, "loop": "uvloop"}
