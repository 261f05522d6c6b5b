"""Each process of the service is killed in turn while callers ask: nobody but them may notice."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from itertools import groupby

import psutil
import pytest

from loadtest.soak.exchanges import grpc
from loadtest.soak.faults import STAGES
from loadtest.steady_load import Look, SteadyLoad
from ovseg.bench.workload import make_photo, prompt_rows
from ovseg.served_models import JSON_MODEL
from ovseg.settings import PROJECT_ROOT
from tests.server.crashing import PATIENCE_S, Site, is_clear_refusal, lost, running_site

NOTICED_S = 2.0
"""By then the supervisor knows of a death, however busy the machine is."""


HANG_TIMEOUT_S = 6
"""Longer than any stage takes for a request, however busy the machine is."""
MAGIC = b"hang"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service whose first stage spins for good at an image that ends in `MAGIC`."""
    folder = tmp_path_factory.mktemp("crashes")
    repository = folder / "repository"
    shutil.copytree(PROJECT_ROOT / "model_repository", repository)
    stage = repository / "preprocess" / "1" / "model.py"
    head, signature, rest = stage.read_text("utf-8").partition("def run(")
    line, end, body = rest.partition("\n")
    spin = f"        while inputs['image'][0].endswith({MAGIC!r}):\n            pass\n"
    stage.write_text(head + signature + line + end + spin + body, "utf-8")
    settings = {"model_repository": str(repository), "hang_timeout_s": str(HANG_TIMEOUT_S)}
    with running_site(folder, **settings) as running:
        yield running


def told(looks: list[Look]) -> list[int]:
    """What `/health/ready` said, without repetitions."""
    return [status for status, _ in groupby(look.status for look in looks)]


@pytest.mark.parametrize(
    "kind", [*(f"stub {stage}" for stage in (*STAGES, JSON_MODEL)), "tritonserver"]
)
def test_a_killed_process_is_replaced_and_requests_wait_for_it(site: Site, kind: str) -> None:
    part = {"tritonserver": "triton"}.get(kind, kind.removeprefix("stub "))
    restarts_before = site.restarts(part)
    victim, *_ = site.processes(kind)
    # The region's name is an argument of a stage's process.
    region = victim.cmdline()[2] if kind.startswith("stub") else "ovseg_none"
    with SteadyLoad(site.addresses) as load:
        load.wait_for_answers(3)
        while not load.looks:
            time.sleep(0.05)
        killed = time.monotonic()
        victim.kill()
        recovery_s = load.wait_whole(killed, PATIENCE_S)
        load.wait_for_answers(3)

    assert recovery_s is not None and recovery_s < site.promised_s
    refused = [e for e in load.exchanges if e.status != 200]
    assert all(is_clear_refusal(exchange) for exchange in refused), refused
    assert recovery_s > 8.0 or lost(refused) == []  # Who need not wait for 10 s is answered.
    assert load.wrong == []
    assert told(load.looks) == [200, 503, 200]
    assert site.restarts(part) == restarts_before + 1
    assert not any(path.name.startswith(region) for path in site.shared_memory())


def test_a_stage_that_was_stopped_is_replaced(site: Site) -> None:
    (victim,) = site.processes("stub postprocess")
    with SteadyLoad(site.addresses) as load:
        load.wait_for_answers(3)
        stopped = time.monotonic()
        victim.send_signal(signal.SIGSTOP)
        site.wait_for_another("stub postprocess", victim)
        recovery_s = load.wait_whole(stopped, PATIENCE_S)

    assert recovery_s is not None and recovery_s < site.promised_s
    assert {exchange.status for exchange in load.exchanges} <= {200, 503}
    assert all(e.status == 200 or is_clear_refusal(e) for e in load.exchanges)
    assert load.wrong == []


def test_a_stage_that_hangs_is_replaced(site: Site) -> None:
    restarts_before = site.restarts("preprocess")
    with SteadyLoad(site.addresses) as load:
        load.wait_for_answers(2)
        # Straight to Triton: the gateway would try it once more.
        rows = prompt_rows("box", 1)
        hanging = grpc(site.addresses, make_photo() + MAGIC, "box", rows, picture=False)
        recovery_s = load.wait_whole(hanging.ended, PATIENCE_S)

    assert hanging.status >= 500 and hanging.seconds > HANG_TIMEOUT_S
    assert recovery_s is not None and recovery_s < site.promised_s
    assert all(e.status == 200 or is_clear_refusal(e) for e in load.exchanges)
    assert load.wrong == []
    assert told(load.looks) == [200, 503, 200]
    assert site.restarts("preprocess") == restarts_before + 1
    assert "stage preprocess was at one request for 6 s" in site.log.read_text("utf-8")


def test_a_killed_gateway_breaks_its_own_connections_only(site: Site) -> None:
    victim, other = site.processes("gateway worker")
    restarts_before = site.restarts("gateway")
    kept = connections_to_both(site, victim, other)
    with SteadyLoad(site.addresses) as load:
        load.wait_for_answers(3)
        killed = time.monotonic()
        victim.kill()
        broken = [pid for connection, pid in kept if not answers(connection)]
        site.wait_for_another("gateway worker", victim)
        recovery_s = load.wait_whole(killed, PATIENCE_S)
        load.wait_for_answers(3)

    assert set(broken) == {victim.pid}
    assert len(broken) == [pid for _, pid in kept].count(victim.pid)
    assert recovery_s is not None and recovery_s < site.promised_s
    assert all(
        e.end == "cut" and e.sent < killed < e.ended < killed + NOTICED_S
        for e in lost(load.exchanges)
    )
    assert load.wrong == []
    # The other one answers: the service was ready throughout.
    assert set(told(load.looks)) <= {200, 0}
    assert site.restarts("gateway") == restarts_before + 1


def connections_to_both(site: Site, *gateways: psutil.Process) -> list[tuple[HTTPConnection, int]]:
    """Open connections, each with the process id of the gateway that has it."""
    found: list[tuple[HTTPConnection, int]] = []
    deadline = time.monotonic() + PATIENCE_S
    while {pid for _, pid in found} != {gateway.pid for gateway in gateways}:
        assert time.monotonic() < deadline
        connection = HTTPConnection("127.0.0.1", site.addresses.port, timeout=PATIENCE_S)
        assert answers(connection)
        assert isinstance(connection.sock, socket.socket)
        own_port = connection.sock.getsockname()[1]
        found += [
            (connection, gateway.pid)
            for gateway in gateways
            if any(c.raddr and c.raddr.port == own_port for c in gateway.net_connections())
        ]
    return found


def answers(connection: HTTPConnection) -> bool:
    """Whether a request on an open connection is answered (`http.client` would open another)."""
    connection.auto_open = connection.sock is None
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().read() != b""
    except (OSError, HTTPException):
        return False


def test_after_all_that_it_stops_cleanly_and_leaves_nothing(site: Site) -> None:
    below = psutil.Process(site.service.process.pid).children(recursive=True)
    assert site.shared_memory()
    assert site.service.stop() == 0
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []
    assert site.shared_memory() == []
