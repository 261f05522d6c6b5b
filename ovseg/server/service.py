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

import httpx

from ovseg.server.errors import ServerStartError
from ovseg.server.ports import free_ports

_STOP_TIMEOUT_S = 45.0


@dataclass(frozen=True)
class Service:
    """A running service."""

    base_url: str
    """Gateway, e.g. http://127.0.0.1:40001."""
    grpc_address: str
    """Triton, host:port."""
    process: subprocess.Popen[str]
    """The supervisor."""

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
    environment: Mapping[str, str] | None = None, timeout_s: float = 180.0
) -> Iterator[Service]:
    """Run `ovseg serve` on free ports of 127.0.0.1 while the block runs.

    Args:
        environment: settings (`OVSEG_…`) on top of this process's own.
        timeout_s: longest time to wait until it is ready.

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
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ovseg", "serve"],
            env={**os.environ, **chosen},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        service = Service(
            base_url=f"http://127.0.0.1:{chosen['OVSEG_PORT']}",
            grpc_address=f"127.0.0.1:{chosen['OVSEG_GRPC_PORT']}",
            process=process,
        )
        try:
            _wait_ready(service, time.monotonic() + timeout_s)
            yield service
        except ServerStartError as error:
            output.seek(0)
            raise ServerStartError(f"{error}\n{output.read().strip()}") from None
        finally:
            service.stop()


def _wait_ready(service: Service, deadline: float) -> None:
    with httpx.Client(base_url=service.base_url, timeout=10.0, trust_env=False) as http:
        while time.monotonic() < deadline:
            if service.process.poll() is not None:
                raise ServerStartError("`ovseg serve` ended before it was ready")
            try:
                if http.get("/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass  # Not listening yet.
            time.sleep(0.1)
    raise ServerStartError("`ovseg serve` did not become ready in time")
