"""A real server on loopback with images to fetch, and with the ways in which one can fail."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from ovseg_gateway.url_fetcher import ImageFetcher

from ovseg.settings import Settings

PICTURE = b"picture" * 1000


class Site(BaseHTTPRequestHandler):
    """Answers each path in a way of its own, until it is released."""

    released: threading.Event

    def do_GET(self) -> None:
        kind, _, argument = self.path.partition("?")[0].lstrip("/").partition("/")
        getattr(self, f"serve_{kind}")(argument)

    def serve_picture(self, _: str) -> None:
        self.answer(200, {"Content-Length": str(len(PICTURE))}, PICTURE)

    def serve_status(self, status: str) -> None:
        self.answer(int(status), {}, b"no picture")

    def serve_hops(self, hops: str) -> None:
        further = f"/hops/{int(hops) - 1}" if int(hops) > 1 else "/picture"
        self.answer(302, {"Location": further}, b"")

    def serve_to(self, location: str) -> None:
        self.answer(307, {"Location": location}, b"")

    def serve_nowhere(self, _: str) -> None:
        self.answer(302, {}, b"")

    def serve_endless(self, _: str) -> None:
        self.answer(200, {}, b"")
        try:
            while not self.released.is_set():
                self.wfile.write(bytes(10_000))
        except OSError:
            pass  # the gateway hung up, as it should

    def serve_slow(self, _: str) -> None:
        self.answer(200, {}, b"x")
        try:
            while not self.released.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            pass

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def fetch(url: str, **settings: Any) -> bytes:
    async def run() -> bytes:
        fetcher = ImageFetcher(Settings(**{"url_allow_private": True, **settings}))
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.aclose()

    return asyncio.run(run())
