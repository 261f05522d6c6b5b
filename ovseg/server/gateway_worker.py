"""One gateway process: `python -m ovseg.server.gateway_worker SOCKET READY_PIPE [STATUS_FILE]`.

The supervisor starts it (see `gateway_workers`) with a listening socket and a pipe to say on that
it serves. SIGTERM drains: see `ovseg_gateway.draining`. A second one ends it at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from ovseg_gateway.app import create_app
from ovseg_gateway.draining import Draining
from ovseg_gateway.http_protocol import http_options

from ovseg.logs import configure_logging
from ovseg.server.exposure import uvicorn_options
from ovseg.server.service_status import StatusReader
from ovseg.settings import get_settings

_AFTER_DRAINING_S = 1
"""For answers to leave; what is unanswered after `drain_timeout_s` is answered with 503 then."""


class _GatewayServer(uvicorn.Server):
    """Says when it serves, and stops as `Draining` wants."""

    def __init__(self, config: uvicorn.Config, draining: Draining, ready_pipe: int) -> None:
        super().__init__(config)
        self._draining = draining
        self._ready_pipe = ready_pipe
        self._drain_task: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            os.write(self._ready_pipe, b"1")
            os.close(self._ready_pipe)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            # A late second one must not turn a clean end into a death by signal.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _on_sigterm(self) -> None:
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain())
        else:
            self._draining.hurry()

    async def _drain(self) -> None:
        await self._draining.drain()
        self.should_exit = True


def main() -> None:
    """Serve until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    ready_pipe = int(sys.argv[2])
    status = StatusReader(Path(sys.argv[3])) if len(sys.argv) > 3 else None
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    draining = Draining(settings.drain_delay_s, settings.drain_timeout_s)
    app = create_app(settings, status=status, draining=draining)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_AFTER_DRAINING_S,
        **http_options(settings),
        **uvicorn_options(settings),
    )
    _GatewayServer(config, draining, ready_pipe).run([listener])


if __name__ == "__main__":
    main()
