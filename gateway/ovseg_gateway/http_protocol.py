"""HTTP/1.1 as httptools parses it, which is C and costs half of what uvicorn's default does.

httptools keeps whatever comes before a header ends, however much it is; here that is bounded.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import error_response


class HttpProtocol(HttpToolsProtocol):
    """One connection. `OVSEG_MAX_HEAD_BYTES` bounds what is neither body nor a complete head."""

    max_head_bytes: int
    """Of a request line with its headers, or of the trailers behind a body."""
    _pending_bytes = 0
    """Received since the last part of a request that was complete."""

    def data_received(self, data: bytes) -> None:
        """Parse what came; more than a head may have ends the connection with 431."""
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > self.max_head_bytes and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._pending_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which `BodyLimitMiddleware` bounds."""
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._pending_bytes = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        message = f"The request's head is larger than {self.max_head_bytes} bytes"
        body = error_response(RequestContext(), 431, message).body
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(b"".join((head.encode("ascii"), body)))
        self.transport.close()


def http_protocol(max_head_bytes: int) -> type[HttpProtocol]:
    """The protocol with a limit, as `uvicorn.Config(http=…)` takes it."""
    return type("LimitedHttpProtocol", (HttpProtocol,), {"max_head_bytes": max_head_bytes})
