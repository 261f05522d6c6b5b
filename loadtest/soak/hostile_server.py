"""A web server that image URLs lead to: one path gives a photo, every other one a trap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from ovseg.bench.workload import make_photo

ADDRESS = "127.0.0.2"
"""Of the loopback network, so that it can be allowed alone: 127.0.0.1 must stay refused."""
PHOTO = "photo.jpg"
_DRIP_S = 0.2
_LONGEST_S = 30.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        name = self.path.strip("/")
        if name == PHOTO:
            self._send(200, make_photo())
        elif name in TRAPS:
            TRAPS[name](self)
        else:
            self._send(404, b"no such file")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self._head(status, Content_Length=str(len(content)), **headers)
        self.wfile.write(content)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def fails(self) -> None:
        self._send(500, make_photo())

    def no_image(self) -> None:
        self._send(200, b"<html>sorry</html>", Content_Type="image/jpeg")

    def redirects_for_ever(self) -> None:
        self._send(302, b"", Location=self.path)

    def redirects_to_metadata(self) -> None:
        self._send(302, b"", Location="http://169.254.169.254/latest/meta-data/")

    def redirects_to_loopback(self) -> None:
        self._send(301, b"", Location="http://127.0.0.1/photo.jpg")

    def redirects_to_a_file(self) -> None:
        self._send(307, b"", Location="file:///etc/passwd")

    def declares_ten_gigabytes(self) -> None:
        self._head(200, Content_Length=str(10**10))
        self.wfile.write(bytes(1000))

    def never_ends(self) -> None:
        self._head(200)
        self._until_they_leave(bytes(64 * 1024), 0.0)

    def breaks_off(self) -> None:
        photo = make_photo()
        self._head(200, Content_Length=str(len(photo)))
        self.wfile.write(photo[: len(photo) // 2])

    def drips(self) -> None:
        self._head(200, Content_Length="100000")
        self._until_they_leave(b"x", _DRIP_S)

    def says_nothing(self) -> None:
        time.sleep(_LONGEST_S / 6)

    def speaks_no_http(self) -> None:
        self.wfile.write(b"220 mail.example.org ESMTP\r\n")

    def _until_they_leave(self, part: bytes, pause_s: float) -> None:
        deadline = time.monotonic() + _LONGEST_S
        while time.monotonic() < deadline:
            self.wfile.write(part)
            time.sleep(pause_s)

    def handle(self) -> None:
        with suppress(OSError):  # They left, as they should.
            super().handle()

    def log_message(self, *_: object) -> None:
        """Quiet."""


TRAPS: dict[str, Callable[[_Handler], None]] = {
    trap.__name__: trap
    for trap in (
        _Handler.fails,
        _Handler.no_image,
        _Handler.redirects_for_ever,
        _Handler.redirects_to_metadata,
        _Handler.redirects_to_loopback,
        _Handler.redirects_to_a_file,
        _Handler.declares_ten_gigabytes,
        _Handler.never_ends,
        _Handler.breaks_off,
        _Handler.drips,
        _Handler.says_nothing,
        _Handler.speaks_no_http,
    )
}


@contextmanager
def hostile_server() -> Iterator[str]:
    """Its URL, without a slash at the end, while the block runs."""
    server = ThreadingHTTPServer((ADDRESS, 0), _Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.1,), name="hostile-server", daemon=True)
    thread.start()
    try:
        yield f"http://{ADDRESS}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
