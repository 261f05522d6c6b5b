"""What is seen of a service from outside while it is under load: its life and its memory."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil


@dataclass
class Watch:
    """All looks."""

    live_s: list[float] = field(default_factory=list)
    rss: list[dict[str, float]] = field(default_factory=list)
    """MB of each part, twice a second."""


@contextmanager
def watching(base_url: str, pid: int | None) -> Iterator[Watch]:
    """Ask for life and read memory while the block runs."""
    watch, over = Watch(), threading.Event()

    def ask_live() -> None:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)
        while not over.wait(0.05):
            asked = time.perf_counter()
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            watch.live_s.append(time.perf_counter() - asked)

    def read_memory() -> None:
        while not over.wait(0.5):
            watch.rss.append(memory(pid))

    threads = [threading.Thread(target=ask_live), threading.Thread(target=read_memory)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()


def memory(pid: int | None) -> dict[str, float]:
    """Resident MB of the gateways, and of Triton with its stages."""
    found = {"gateway": 0.0, "Triton": 0.0}
    if pid is None:
        return found
    for process in psutil.Process(pid).children(recursive=True):
        try:
            is_triton = "triton" in process.name()
            found["Triton" if is_triton else "gateway"] += process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return found
