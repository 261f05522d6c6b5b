"""The gateway's processes: they share one listening socket, and are replaced when they die.

The supervisor listens before they start and for as long as it runs, so that a connection that comes
while a worker is being replaced waits instead of being refused. What a killed worker was answering
is lost with it: those connections break, and nobody else knows of them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from ovseg.server.backoff import Backoff
from ovseg.server.child_process import die_with_parent, how_it_ended, oom_kills, process_state
from ovseg.server.errors import ServerStartError
from ovseg.server.service_status import StatusWriter
from ovseg.settings import Settings

Say = Callable[[str], None]

_STOPPED_LIMIT_S = 2.0


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    ready_pipe: int
    """Readable once it serves, and when it has ended."""
    is_ready: bool = False
    stopped_since: float | None = None


class GatewayWorkers:
    """Call `check` often."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        status: StatusWriter,
        folder: Path,
        status_file: Path | None,
        say: Say,
    ) -> None:
        """Start none yet.

        Args:
            settings: everything.
            listener: the socket; closed when they are told to end.
            status: counts restarts.
            folder: for the metrics of all workers together.
            status_file: what they read the state of the service from, if anybody writes it.
            say: takes lines for the person at the terminal.
        """
        self._settings = settings
        self._listener = listener
        self._status = status
        self._metrics_folder = folder / "metrics"
        self._metrics_folder.mkdir()
        self._status_file = status_file
        self._say = say
        self._backoff = Backoff(settings)
        self._workers: list[_Worker] = []
        self._missing = settings.gateway_workers
        self._next_start = 0.0
        self._is_stopping = False
        self._oom_kills = oom_kills()

    @property
    def are_ready(self) -> bool:
        """Whether all of them serve."""
        return not self._missing and all(worker.is_ready for worker in self._workers)

    @property
    def are_running(self) -> bool:
        """Whether there is one left."""
        return any(worker.process.poll() is None for worker in self._workers)

    def check(self) -> None:
        """Start what is missing, and see who has become ready or died.

        Raises:
            RestartLimitError: workers end before they are ready, again and again.
        """
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._bury(worker)
                continue
            if not worker.is_ready and select.select([worker.ready_pipe], [], [], 0)[0]:
                worker.is_ready = os.read(worker.ready_pipe, 1) != b""
            self._kill_if_stopped(worker)
        while self._missing and time.monotonic() >= self._next_start and not self._is_stopping:
            self._workers.append(self._start())
            self._missing -= 1

    def drain(self) -> None:
        """Tell them to finish what they have and end; a second time: to end now."""
        if not self._is_stopping:
            self._is_stopping = True
            # Theirs stay open for as long as they answer; then connections are refused.
            self._listener.close()
        for worker in self._workers:
            worker.process.send_signal(signal.SIGTERM)  # Does nothing to one that has ended.

    def kill(self) -> None:
        """End them all without waiting for anything."""
        self._is_stopping = True
        self._listener.close()
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
            os.close(worker.ready_pipe)
        self._workers.clear()

    def _start(self) -> _Worker:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "ovseg.server.gateway_worker"]
        arguments = [str(self._listener.fileno()), str(writing)]
        if self._status_file:
            arguments.append(str(self._status_file))
        try:
            process = subprocess.Popen(
                command + arguments,
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._metrics_folder)},
                stdin=subprocess.DEVNULL,
                pass_fds=(self._listener.fileno(), writing),
                # Ctrl-C goes to the supervisor alone, which stops its processes in order.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            os.close(reading)
            raise ServerStartError(f"cannot start a gateway: {error}") from None
        finally:
            os.close(writing)
        return _Worker(process, reading)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        os.close(worker.ready_pipe)
        # Its counters stay, its gauges go.
        mark_process_dead(  # type: ignore[no-untyped-call]
            worker.process.pid, str(self._metrics_folder)
        )
        if self._is_stopping:
            return
        self._missing += 1
        cause = f"a gateway {how_it_ended(worker.process.returncode, self._oom_kills)}"
        self._oom_kills = oom_kills()
        if worker.is_ready:
            pause = self._backoff.after_crash()
        else:
            cause += " before it was ready"
            pause = self._backoff.after_failed_start(cause)
        self._next_start = time.monotonic() + pause
        self._status.count_restart("gateway")
        self._say(f"{cause}; starting another …")

    def _kill_if_stopped(self, worker: _Worker) -> None:
        state = process_state(worker.process.pid)
        if state is None or state.letter != "T":
            worker.stopped_since = None
            return
        worker.stopped_since = worker.stopped_since or time.monotonic()
        if time.monotonic() - worker.stopped_since > _STOPPED_LIMIT_S:
            with suppress(ProcessLookupError):
                worker.process.kill()
