"""A network that brings a page in the worst order: a bit of HTML at a time, all else last."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PATIENCE_S = 120.0


class SlowNetwork(http.server.ThreadingHTTPServer):
    """Stands before a service; what it brings, a test releases."""

    daemon_threads = True

    def __init__(self, base_url: str, cuts: Sequence[str], without: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base_url = base_url
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.cuts = cuts
        self.without = without
        self.piece = threading.Semaphore(1)
        """Released for each piece of the page's HTML; the first comes by itself."""
        self.files = threading.Event()
        """Set for the pictures and scripts; style sheets come by themselves."""

    def pieces(self, html: bytes) -> Iterator[bytes]:
        """The page, cut before each of `cuts`, and a last time nowhere."""
        rest = html.replace(self.without.encode(), b"")
        for cut in self.cuts:
            at = rest.index(cut.encode())
            yield rest[:at]
            rest = rest[at:]
        yield rest


class _Handler(http.server.BaseHTTPRequestHandler):
    server: SlowNetwork

    def do_GET(self) -> None:
        """Answer as the service does, but later."""
        with urllib.request.urlopen(self.server.base_url + self.path) as answer:
            body = answer.read()
            headers = [(name, answer.headers[name]) for name in ("Content-Type", "Cache-Control")]
        if self.path.endswith((".jpg", "app.js")):
            self.server.files.wait(PATIENCE_S)
        self.send_response(200)
        for name, value in headers:
            if value:
                self.send_header(name, value)
        self.end_headers()
        for piece in self.server.pieces(body) if self.path == "/" else [body]:
            if self.path == "/":
                self.server.piece.acquire(timeout=PATIENCE_S)
            self.wfile.write(piece)

    def log_message(self, *values: object) -> None:
        """Say nothing."""


@contextmanager
def slow_network(
    base_url: str, cuts: Sequence[str] = (), without: str = ""
) -> Iterator[SlowNetwork]:
    """Run one while the block runs; `without` is taken out of the page's HTML."""
    with SlowNetwork(base_url, cuts, without) as network:
        thread = threading.Thread(target=network.serve_forever, daemon=True)
        thread.start()
        try:
            yield network
        finally:
            network.shutdown()
            thread.join()
