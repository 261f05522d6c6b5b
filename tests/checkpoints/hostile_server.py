"""A file server that breaks off, ignores ranges, changes the file, or corrupts it, on purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.local_server import LocalServer


@dataclass
class Answer:
    """How the server treats one request."""

    cut_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    status: int | None = None
    """An error status, without a body."""
    ignores_range: bool = False
    ignores_if_range: bool = False
    has_validator: bool = True
    flips_a_bit: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[HostileServer], None] = lambda server: None
    """Runs first; may change the server's content."""


class HostileServer(LocalServer):
    """Serves `content` at every path; treats the first requests as `answers` say."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.answers: list[Answer] = []
        self.requests: list[dict[str, str]] = []
        """Headers of the requests so far."""
        super().__init__(_Handler)

    @property
    def ranges(self) -> list[str | None]:
        """What each request so far asked for."""
        return [headers.get("Range") for headers in self.requests]

    def address_of(self, name: str) -> str:
        return f"{self.url}/{name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HostileServer

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        answer = server.answers.pop(0) if server.answers else Answer()
        answer.before(server)
        self.close_connection = True
        if answer.status is not None:
            self.send_response(answer.status)
            self._send_headers({"Content-Length": "0", **answer.headers})
            return
        content = server.content
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = self._start(answer, etag)
        if start is not None and start >= len(content):
            self.send_response(416)
            self._send_headers({"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"})
            return
        body = bytearray(content[start or 0 :])
        if answer.flips_a_bit:
            body[len(body) // 2] ^= 1
        headers = {"Content-Length": str(len(body))}
        if answer.has_validator:
            headers["ETag"] = etag
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(200 if start is None else 206)
        self._send_headers({**headers, **answer.headers})
        self.wfile.write(body[: answer.cut_after])

    def _start(self, answer: Answer, etag: str) -> int | None:
        asked = self.headers.get("Range")
        if asked is None or answer.ignores_range:
            return None
        condition = self.headers.get("If-Range")
        if condition not in (None, etag) and not answer.ignores_if_range:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send_headers(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""
