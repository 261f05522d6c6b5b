"""The real service with the bundled model and two gateways, for tests that break it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.soak.exchanges import Addresses, Exchange
from loadtest.soak.processes import service_processes
from ovseg.server.service import Service
from tests.bundled_model import copy_bundled_model
from tests.shared_service import shared_service

PATIENCE_S = 90.0
"""Nothing that these tests wait for takes so long, however busy the machine is."""

HTTP: dict[str, Any] = {"trust_env": False, "timeout": 30.0}


@dataclass(frozen=True)
class Site:
    """A service, and ways to look at it."""

    service: Service
    log: Path

    @property
    def addresses(self) -> Addresses:
        """For requests."""
        port = urlsplit(self.service.base_url).port
        assert port is not None
        return Addresses("127.0.0.1", port, self.service.grpc_address)

    @property
    def started_in_s(self) -> float:
        """How long it took to start: a measure of how busy this machine is."""
        found = re.search(r"^ready in ([\d.]+) s", self.log.read_text("utf-8"), re.MULTILINE)
        assert found
        return float(found[1])

    @property
    def promised_s(self) -> float:
        """How soon it must be whole: 10 s, or longer on a machine that starts it slowly."""
        return max(10.0, 2.0 * self.started_in_s)

    def processes(self, kind: str) -> list[psutil.Process]:
        """Those of one kind: "tritonserver", "gateway worker" or "stub STAGE"; the oldest first.

        What a process has just forked, for a moment, looks like itself.
        """
        found = service_processes(self.service.process.pid).get(kind, [])
        return sorted(found, key=psutil.Process.create_time)

    def wait_for_another(self, kind: str, old: psutil.Process) -> psutil.Process:
        """The process that took the place of `old`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if new := [process for process in self.processes(kind) if process.pid != old.pid]:
                return new[0]
            time.sleep(0.02)
        raise TimeoutError(f"nothing took the place of {old}: {self.log.read_text('utf-8')}")

    def wait_until_ready(self) -> None:
        """Until `/health/ready` says so."""
        deadline = time.monotonic() + PATIENCE_S
        while httpx.get(f"{self.service.base_url}/health/ready", **HTTP).status_code != 200:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready: {self.log.read_text('utf-8')}")
            time.sleep(0.1)

    def restarts(self, part: str) -> float:
        """`ovseg_restarts_total{part}`."""
        text = httpx.get(f"{self.service.base_url}/metrics", **HTTP).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "ovseg_restarts_total" and sample.labels["part"] == part:
                    return sample.value
        return 0.0

    def shared_memory(self) -> list[Path]:
        """What it has in /dev/shm."""
        return list(Path("/dev/shm").glob(f"ovseg_{self.service.process.pid}_*"))


@contextmanager
def running_site(folder: Path, **settings: str) -> Iterator[Site]:
    """The service with a copy of the bundled model in `folder/models`; its log is in `folder`."""
    environment: Mapping[str, str] = {
        "OVSEG_MODEL_DIR": str(folder / "models"),
        "OVSEG_GATEWAY_WORKERS": "2",
        **{f"OVSEG_{name.upper()}": value for name, value in settings.items()},
    }
    if not (folder / "models").exists():
        copy_bundled_model(folder / "models")
    log = folder / "service.log"
    with shared_service(environment, log) as service:
        yield Site(service, log)


def is_clear_refusal(exchange: Exchange) -> bool:
    """Whether it is a 503 that says when to come back."""
    return exchange.status == 503 and int(exchange.headers["retry-after"]) >= 1


def lost(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Those without masks; what is refused for its load alone, on a busy machine, is not lost."""
    return [
        exchange
        for exchange in exchanges
        if exchange.status != 200
        and not (is_clear_refusal(exchange) and "busy; try again later" in exchange.message)
    ]
