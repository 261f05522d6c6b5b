"""A web server that gives one canned answer and remembers what it was sent; who asks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

import numpy as np
import pycocotools.mask
from ovseg_client import AsyncClient, Client, Prediction

from tests.local_server import LocalServer


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
    hang_ups: int = 0
    """Requests to read, and to leave without an answer, first."""
    cuts_answers: bool = False
    """Whether connections end in the middle of an answer."""
    pause_s: float = 0.0
    """Where set, answers come one byte after the other."""
    gets: list[str] = field(default_factory=list)
    """Paths of the GET requests."""
    running: int = 0
    most_running: int = 0
    """Requests at the same time."""

    def body(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        """Send the body of an answer."""
        if self.cuts_answers:
            handler.wfile.write(content[:-1])
            handler.close_connection = True
            return
        step = 1 if self.pause_s else len(content)
        for start in range(0, len(content), step):
            time.sleep(self.pause_s)
            handler.wfile.write(content[start : start + step])


@contextlib.contextmanager
def canned_server() -> Iterator[CannedServer]:
    """Serve on a free port of loopback."""
    canned = CannedServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            canned.connections.add(self.client_address[1])
            length = int(self.headers["Content-Length"])
            sent = json.loads(self.rfile.read(length))
            with lock:
                canned.sent.append(sent)
                canned.running += 1
                canned.most_running = max(canned.most_running, canned.running)
            try:
                self.answer()
            finally:
                with lock:
                    canned.running -= 1

        def answer(self) -> None:
            if canned.hang_ups:
                canned.hang_ups -= 1
                self.close_connection = True
                return
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
                canned.body(self, content)

        def do_GET(self) -> None:
            canned.gets.append(self.path)
            content = b"what is there"
            self.send_response(canned.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with LocalServer(Handler) as server:
        canned.url = server.url
        try:
            yield canned
        finally:
            if canned.delay is not None:
                canned.delay.set()


def answer(n: int, **result: Any) -> dict[str, Any]:
    """The answer to n prompts, with masks of 3 x 5 pixels."""
    masks = np.zeros((3, 5, n), np.uint8, order="F")
    for i in range(n):
        masks[i % 3, :, i] = 1
    rles = pycocotools.mask.encode(masks)
    texts = [rle["counts"].decode() for rle in rles]
    return {
        "logId": "theirs",
        "result": {
            "masks": [{"size": [3, 5], "counts": text, "rleResult": text} for text in texts],
            "maskInfos": [{"label": "box_prompt", "prompt": [1.0], "score": 0.5}] * n,
            **result,
        },
        "errorCode": 0,
        "errorMsg": "Success",
    }


BOX = [1, 2, 3, 4]

Run = Callable[..., Any]
"""Runs `ovseg predict` with some arguments."""


class Ask(Protocol):
    """One box on one image, with a client of its own."""

    def __call__(self, address: str, **options: Any) -> Prediction: ...


def ask(address: str, **options: Any) -> Prediction:
    """`Ask` with `Client`."""
    with Client(address, **options) as client:
        return client.predict(b"file", boxes=BOX)


def ask_async(address: str, **options: Any) -> Prediction:
    """`Ask` with `AsyncClient`."""

    async def call() -> Prediction:
        async with AsyncClient(address, **options) as client:
            return await client.predict(b"file", boxes=BOX)

    return asyncio.run(call())
