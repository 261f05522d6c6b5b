"""A web server that gives one canned answer and remembers what it was sent."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class CannedServer:
    """Answers every POST alike; `sent` collects the decoded bodies."""

    url: str = ""
    status: int = 200
    answer: dict[str, Any] | bytes = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    delay: threading.Event | None = None
    """Where set, answers wait for it."""
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Statuses and answers to give first, one each."""
    connections: set[int] = field(default_factory=set)
    """Ports that the clients' connections came from."""


@contextlib.contextmanager
def canned_server() -> Iterator[CannedServer]:
    """Serve on a free port of loopback."""
    canned = CannedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            canned.connections.add(self.client_address[1])
            length = int(self.headers["Content-Length"])
            canned.sent.append(json.loads(self.rfile.read(length)))
            if canned.delay is not None:
                canned.delay.wait(5)
            status, answer = (
                canned.answers.pop(0) if canned.answers else (canned.status, canned.answer)
            )
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**canned.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    canned.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield canned
    finally:
        if canned.delay is not None:
            canned.delay.set()
        server.shutdown()
        thread.join()
        server.server_close()
