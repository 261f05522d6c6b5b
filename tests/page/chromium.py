"""A headless Chromium, driven by its DevTools protocol over a pair of pipes: nothing to install.

The messages are JSON, each ended by a zero byte; the browser ends when the pipes do.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

TIMEOUT_S = 120.0
"""For anything at all; a busy machine is slow."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # Tests run as root, where Chromium's sandbox does not.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Chromium would ask its maker's hosts for this and that.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--lang=en-US",
)

Message = dict[str, Any]


def chromium_path() -> str | None:
    """Where a Chromium or Chrome is installed."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class DevToolsError(Exception):
    """The browser refused a command, or a script in the page threw."""


class Browser:
    """The connection to a running browser; commands wait for their answers."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._write = to_browser
        self._read = from_browser
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[Message]] = {}
        self.events: list[Message] = []
        """Everything that the browser told without being asked."""
        threading.Thread(target=self._listen, daemon=True).start()

    def call(self, method: str, session: str | None = None, **params: Any) -> Message:
        """Send one command.

        Raises:
            DevToolsError: the browser refused it.
            queue.Empty: there was no answer in time.
        """
        number = next(self._ids)
        answers = self._answers[number] = queue.SimpleQueue()
        message: Message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        answer = answers.get(timeout=TIMEOUT_S)
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']}")
        result: Message = answer["result"]
        return result

    def _listen(self) -> None:
        held = b""
        with suppress(OSError):
            while chunk := os.read(self._read, 1 << 20):
                *whole, held = (held + chunk).split(b"\0")
                for text in whole:
                    message = json.loads(text)
                    if "id" in message:
                        self._answers.pop(message["id"]).put(message)
                    else:
                        self.events.append(message)


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    """Run a browser with a profile of its own while the block runs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_browser = os.pipe()
        from_browser = os.pipe()
        ends = (to_browser[0], from_browser[1])
        # The browser reads from descriptor 3 and writes to 4. Two steps, as one of the ends may
        # have one of these numbers itself.
        redirect = 'exec {a}<&"$1" {b}>&"$2"; shift 2; exec "$@" 3<&"$a" 4>&"$b"'
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                redirect,
                "bash",
                *map(str, ends),
                path,
                *_FLAGS,
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        try:
            yield Browser(to_browser[1], from_browser[0])
        finally:
            os.close(to_browser[1])
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(from_browser[0])


def wait_until(is_so: Any, what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Ask again and again until the answer is true in Python's sense; returns it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if answer := is_so():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
