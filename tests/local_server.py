"""A web server in this process, for tests of what asks one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LocalServer(ThreadingHTTPServer):
    """Serves a free port of this machine from when it is made until it is closed."""

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def server_close(self) -> None:
        self.shutdown()
        self._thread.join()
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has hung up is no news; it would be printed amid a command's output."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
