"""A service of one's own: `ovseg serve` as a child process, for demos, tests and scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ovseg.server.errors import ServerStartError
from ovseg.server.ports import free_ports
from ovseg.server.supervisor import READY_PREFIX, Part

_STOP_TIMEOUT_S = 45.0
# Ends the service when its starter ends without a word (a signal that nobody handles).
_GUARD = 'cat >/dev/null; kill -TERM "$0" 2>/dev/null'


@dataclass(frozen=True)
class Service:
    """A running service."""

    base_url: str
    """Gateway, e.g. http://127.0.0.1:40001."""
    grpc_address: str
    """Triton, host:port."""
    process: subprocess.Popen[str]
    """The supervisor."""
    output_file: Path
    """What it and the gateway print; there until it has stopped."""

    def stop(self) -> int:
        """Stop it as Ctrl-C does; returns the supervisor's exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def running_service(
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 180.0,
    log: Path | None = None,
    part: Part = "all",
) -> Iterator[Service]:
    """Run `ovseg serve` on free ports of 127.0.0.1 while the block and this process run.

    Args:
        environment: settings (`OVSEG_…`) on top of this process's own.
        timeout_s: longest time to wait until it is ready.
        log: where what it prints is kept.
        part: all of it, or Triton or a gateway alone.

    Raises:
        ServerStartError: it did not become ready; the message is what it printed.
    """
    port, grpc_port, http_port, metrics_port = free_ports(4)
    ports = {
        "OVSEG_PORT": port,
        "OVSEG_GRPC_PORT": grpc_port,
        "OVSEG_TRITON_HTTP_PORT": http_port,
        "OVSEG_METRICS_PORT": metrics_port,
    }
    chosen = {**{name: str(value) for name, value in ports.items()}, **(environment or {})}
    scheme = "https" if {**os.environ, **chosen}.get("OVSEG_TLS_CERT") else "http"
    with (
        log.open("w") if log else tempfile.NamedTemporaryFile("w") as written,
        open(written.name) as output,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "ovseg", "serve", part],
            env={**os.environ, **chosen},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            text=True,
        )
        service = Service(
            base_url=f"{scheme}://127.0.0.1:{chosen['OVSEG_PORT']}",
            grpc_address=f"127.0.0.1:{chosen['OVSEG_GRPC_PORT']}",
            process=process,
            output_file=Path(written.name),
        )
        with _guarded(process.pid):
            try:
                _wait_ready(process, output, time.monotonic() + timeout_s)
                yield service
            except ServerStartError as error:
                output.seek(0)
                raise ServerStartError(f"{error}\n{output.read().strip()}") from None
            finally:
                service.stop()


@contextmanager
def _guarded(pid: int) -> Iterator[None]:
    """End a process once this one has ended, if that is within the block."""
    with subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, str(pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is not for it.
    ) as guard:
        try:
            yield
        finally:
            guard.kill()


def _wait_ready(process: subprocess.Popen[str], output: TextIO, deadline: float) -> None:
    # What the process itself says, not what answers on its port: that may be somebody else.
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        output.seek(0)
        if any(line.startswith(READY_PREFIX) for line in output):
            return
        if ended:
            raise ServerStartError("`ovseg serve` ended before it was ready")
        time.sleep(0.05)
    raise ServerStartError("`ovseg serve` did not become ready in time")
