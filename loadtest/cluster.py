"""Several Tritons and gateways behind nginx on loopback, as deploy/scale-out has them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil
import tritonclient.grpc as triton
from ovseg_gateway.routes_to_replicas import METADATA
from tritonclient.utils import InferenceServerException

from loadtest.soak.exchanges import Addresses
from ovseg.served_models import ENSEMBLE
from ovseg.server.ports import free_ports
from ovseg.server.service import Service, running_service
from ovseg.settings import PROJECT_ROOT

Policy = Literal["hashed", "hashed, no bound", "random"]

CONFIGURATION = PROJECT_ROOT / "deploy" / "scale-out"
_TIMEOUT_S = 30.0


def find_nginx() -> str | None:
    """`$NGINX`, or the program where it is installed; Debian puts it where only root looks."""
    if given := os.environ.get("NGINX"):
        return given
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Balancer:
    """nginx with the configuration of deploy/scale-out, other addresses put in; a context manager.

    `rest_port` and `grpc_port` are where it listens on 127.0.0.1.
    """

    def __init__(self, program: str, max_connections: int) -> None:
        """Nothing runs yet.

        Args:
            program: nginx.
            max_connections: the bound, calls that a Triton may have at once.
        """
        self.rest_port, self.grpc_port = free_ports(2)
        self.tritons: list[str] = []
        """host:port; `apply` after a change."""
        self.folder = Path()
        """nginx's, while it runs: `routes.log` has a line "image address[, address …]" a call."""
        self.gateways: list[str] = ["127.0.0.1:1"]
        self.policy: Policy = "hashed"
        self._program = program
        self._max_connections = max_connections
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Balancer:
        self._temporary = tempfile.TemporaryDirectory(prefix="ovseg-nginx-")
        self.folder = Path(self._temporary.name)
        self._errors = self.folder / "errors.log"
        self.folder.chmod(0o755)  # As root, nginx's workers are another user.
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.terminate()
                self._process.wait(5)
        self._temporary.cleanup()

    def apply(self) -> None:
        """Start, or go on with the present addresses and policy; calls under way go on."""
        self._write()
        if self._process is None:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(self._command, stderr=errors)
            self._wait(lambda: bool(self._workers()))
            return
        before = self._workers()
        self._process.send_signal(signal.SIGHUP)
        # The old workers leave when their calls have ended; until then some go the old way.
        self._wait(lambda: not before & self._workers() and bool(self._workers()))

    def check(self) -> str:
        """What `nginx -t` says of the configuration.

        Raises:
            subprocess.CalledProcessError: it is wrong.
        """
        self._write()
        done = subprocess.run([*self._command, "-t"], capture_output=True, text=True, check=True)
        return done.stderr

    def owners(self, images: Sequence[str]) -> dict[str, str]:
        """The Triton (host:port) that calls for each image go to now, by asking nginx."""
        log = self.folder / "routes.log"
        with triton.InferenceServerClient(f"127.0.0.1:{self.grpc_port}") as client:
            for image in images:
                client.is_model_ready(ENSEMBLE, headers={METADATA: image})
        lines: list[list[str]] = []

        def are_written() -> bool:
            lines[:] = [line.split() for line in log.read_text("ascii").splitlines()]
            return set(images) <= {line[0] for line in lines}

        self._wait(are_written)
        # The last address is the one that took it, after those that were down.
        known = {line[0]: line[-1] for line in lines}
        return {image: known[image] for image in images}

    @property
    def _command(self) -> list[str]:
        configuration = str(self.folder / "nginx.conf")
        return [self._program, "-p", str(self.folder), "-c", configuration, "-g", "daemon off;"]

    def _workers(self) -> set[int]:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"nginx has ended: {self._errors.read_text('utf-8')}")
        return {child.pid for child in psutil.Process(self._process.pid).children()}

    def _write(self) -> None:
        text = (CONFIGURATION / "nginx.conf").read_text("utf-8")
        text = _replace(text, "listen 8001 ", f"listen 127.0.0.1:{self.grpc_port} ")
        text = _replace(text, "listen 8080;", f"listen 127.0.0.1:{self.rest_port};")
        # One process: what nginx's processes do not share should not depend on their number here.
        text = _replace(text, "worker_processes auto;", "worker_processes 1;")
        routes = (
            "log_format routes '$http_ovseg_image $upstream_addr'; access_log routes.log routes;"
        )
        text = _replace(text, "access_log off;", routes)
        if self.policy == "random":
            text = _replace(text, "hash $image consistent;", "random;")
        (self.folder / "nginx.conf").write_text(text, "utf-8")
        for name, addresses in (("tritons", self.tritons), ("gateways", self.gateways)):
            given = (CONFIGURATION / f"{name}.conf").read_text("utf-8")
            (line,) = {re.sub(r"-\d+:\d+", "-N", line) for line in _servers(given)}
            line = re.sub(r"server \S+", "server {}", line)
            bound = self._max_connections if self.policy != "hashed, no bound" else 0
            line = re.sub(r"max_conns=\d+", f"max_conns={bound}", line)
            lines = [line.format(address) for address in addresses]
            (self.folder / f"{name}.conf").write_text("\n".join(lines), "ascii")

    def _wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError("nginx takes too long")
            time.sleep(0.02)


class Cluster:
    """Tritons, gateways and nginx; use as a context manager."""

    def __init__(
        self, nginx: str, replicas: int, gateways: int, max_running: int, cache_bytes: int
    ) -> None:
        """Nothing runs yet.

        Args:
            nginx: the program.
            replicas: Tritons.
            gateways: gateways.
            max_running: requests that each gateway sends at once.
            cache_bytes: embedding cache of each Triton.
        """
        sent = gateways * (max_running + 1)
        self.bound = -(-sent // max(replicas - 1, 1))
        """`max_conns` of each Triton, as tritons.conf says."""
        self.balancer = Balancer(nginx, self.bound)
        self.tritons: list[Service] = []
        self._gateways: list[Service] = []
        self._numbers = (replicas, gateways)
        self._cache_bytes = cache_bytes
        self._max_running = max_running
        self._running = ExitStack()

    def __enter__(self) -> Cluster:
        with self._running as started:
            started.enter_context(self.balancer)
            for _ in range(self._numbers[0]):
                self.add_triton()
            self.balancer.apply()
            for _ in range(self._numbers[1]):
                self._add_gateway()
            self.balancer.gateways = [f"{at.host}:{at.port}" for at in self.gateways]
            self.balancer.apply()
            self._running = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def addresses(self) -> Addresses:
        """Where callers ask."""
        return Addresses("127.0.0.1", self.balancer.rest_port, self.tritons[0].grpc_address)

    @property
    def gateways(self) -> list[Addresses]:
        """Each gateway, past nginx."""
        ports = [urlsplit(service.base_url).port for service in self._gateways]
        triton_address = self.tritons[0].grpc_address
        return [Addresses("127.0.0.1", port, triton_address) for port in ports if port]

    def is_serving(self, service: Service) -> bool:
        """Whether a Triton says that it serves the model."""
        with triton.InferenceServerClient(service.grpc_address) as client:
            try:
                return bool(client.is_model_ready(ENSEMBLE, client_timeout=2.0))
            except InferenceServerException:
                return False

    def add_triton(self) -> Service:
        """Start one more; the balancer knows it after `balancer.apply`."""
        settings = {"OVSEG_THREADS": "1", "OVSEG_CACHE_SIZE_BYTES": str(self._cache_bytes)}
        service = self._running.enter_context(running_service(settings, 300.0, part="triton"))
        self.tritons.append(service)
        self.balancer.tritons.append(service.grpc_address)
        return service

    def _add_gateway(self) -> None:
        settings = {
            "OVSEG_GRPC_URL": f"127.0.0.1:{self.balancer.grpc_port}",
            # What all Tritons together remember.
            "OVSEG_CACHE_SIZE_BYTES": str(self._numbers[0] * self._cache_bytes),
            "OVSEG_MAX_RUNNING": str(self._max_running),
            # Slow cores are no reason to refuse: whatever fails then is somebody's fault.
            "OVSEG_MAX_WAIT_S": "120",
            "OVSEG_OVERLOAD_WAIT_TURNS": "100",
        }
        self._gateways.append(
            self._running.enter_context(running_service(settings, 300.0, part="gateway"))
        )


def kill_triton(service: Service) -> None:
    """Kill tritonserver and its stages (SIGKILL), and keep its supervisor from repairing it."""
    service.process.send_signal(signal.SIGSTOP)
    for process in psutil.Process(service.process.pid).children(recursive=True):
        process.kill()


def revive_triton(service: Service) -> None:
    """Let its supervisor repair it."""
    service.process.send_signal(signal.SIGCONT)


def cache_counts(service: Service) -> tuple[int, int]:
    """Requests that found their embedding in that Triton's cache, and that did not, so far."""
    with triton.InferenceServerClient(service.grpc_address) as client:
        found = client.get_inference_statistics("embed").model_stats[0].inference_stats
    return int(found.cache_hit.count), int(found.cache_miss.count)


def _servers(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("server ")]


def _replace(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"deploy/scale-out/nginx.conf has no {old!r}, or several")
    return text.replace(old, new)
