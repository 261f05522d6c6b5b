"""`ovseg serve`: tritonserver and the gateways, kept running together until told to stop.

The supervisor does no work of its own: it starts processes, replaces those that die
(`triton_keeper`, `gateway_workers`), and stops them in order. Stopping: the gateways drain
(`ovseg_gateway.draining`), then Triton stops: it would fail whatever runs in it.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Literal

from ovseg.served_models import JSON_MODEL
from ovseg.server.child_process import adopt_orphans
from ovseg.server.exposure import exposure_warnings
from ovseg.server.gateway_workers import GatewayWorkers
from ovseg.server.model_sets import STAGES
from ovseg.server.ports import listen
from ovseg.server.service_status import StatusWriter
from ovseg.server.triton_keeper import TritonKeeper
from ovseg.settings import Settings

Part = Literal["all", "triton", "gateway"]
Say = Callable[[str], None]

READY_PREFIX = "ready in "
"""Start of the plain line that tells that requests are answered; scripts wait for it."""

_LOOK_INTERVAL_S = 0.05
_AFTER_DRAINING_S = 5.0
_BACKLOG = 2048


def serve(settings: Settings, part: Part, say: Say, announce: Callable[[float], None]) -> int:
    """Serve until SIGINT or SIGTERM, then stop in order; a second signal stops at once.

    Args:
        settings: everything.
        part: all processes, or one kind of them (as two containers do).
        say: takes lines for the person at the terminal.
        announce: called once requests are answered, with the seconds that it took.

    Returns:
        Exit code: 0, or 128 + the signal's number if a second one cut requests off.

    Raises:
        ServerStartError: something is missing, taken or broken, or keeps dying; one line says what.
        ModelNotInstalledError: the model of the settings is not installed.
    """
    for warning in exposure_warnings(settings, part):
        say(warning)
    adopt_orphans()
    with _Signals() as signals, tempfile.TemporaryDirectory(prefix="ovseg-") as folder:
        return _Supervisor(settings, part, say, announce, signals, Path(folder)).run()


class _Signals:
    """SIGINT and SIGTERM, noted down; use as a context manager."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._wake = Event()

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        self._wake.wait(seconds)
        self._wake.clear()

    def __enter__(self) -> _Signals:
        self._previous = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.seen.append(number)
        self._wake.set()


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        part: Part,
        say: Say,
        announce: Callable[[float], None],
        signals: _Signals,
        folder: Path,
    ) -> None:
        self._settings = settings
        self._say = say
        self._announce = announce
        self._signals = signals
        status_file = folder / "status.json"
        self._status = StatusWriter(status_file, ("gateway", "triton", *STAGES, JSON_MODEL))
        self._started = time.monotonic()
        self._workers: GatewayWorkers | None = None
        self._keeper: TritonKeeper | None = None
        if part != "gateway":
            self._keeper = TritonKeeper(settings, self._status, say)
        if part != "triton":
            listener = listen(settings.host, settings.port, "OVSEG_PORT", _BACKLOG)
            # A gateway alone has no supervisor of Triton to tell it what works.
            told = status_file if self._keeper else None
            self._workers = GatewayWorkers(settings, listener, self._status, folder, told, say)

    def run(self) -> int:
        try:
            if self._keeper:
                self._keeper.start()
            self._keep_running()
            return self._stop_in_order()
        finally:
            if self._workers:
                self._workers.kill()
            if self._keeper:
                self._keeper.kill()

    def _keep_running(self) -> None:
        is_announced = False
        while not self._signals.seen:
            if self._workers:
                self._workers.check()
            if self._keeper and self._keeper.failure:
                raise self._keeper.failure
            if not is_announced and self._is_ready():
                is_announced = True
                self._announce(time.monotonic() - self._started)
            self._signals.wait(_LOOK_INTERVAL_S)

    def _is_ready(self) -> bool:
        return (self._keeper is None or self._keeper.ready.is_set()) and (
            self._workers is None or self._workers.are_ready
        )

    def _stop_in_order(self) -> int:
        settings = self._settings
        if self._workers:
            self._workers.drain()
            drained = time.monotonic() + settings.drain_delay_s + settings.drain_timeout_s
            while self._workers.are_running and time.monotonic() < drained + _AFTER_DRAINING_S:
                if len(self._signals.seen) > 1:
                    return self._stop_at_once()
                self._signals.wait(_LOOK_INTERVAL_S)
        if self._keeper:
            self._keeper.stop()
            while self._keeper.is_running:
                if len(self._signals.seen) > 1:
                    return self._stop_at_once()
                self._signals.wait(_LOOK_INTERVAL_S)
        self._say("stopped")
        return 0

    def _stop_at_once(self) -> int:
        if self._workers:
            self._workers.drain()  # The second time: they answer 503 to all that they have.
            deadline = time.monotonic() + _AFTER_DRAINING_S
            while self._workers.are_running and time.monotonic() < deadline:
                time.sleep(_LOOK_INTERVAL_S)
        self._say("stopped at once")
        return 128 + self._signals.seen[1]
