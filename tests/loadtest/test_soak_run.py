"""The soak itself, for a quarter of a minute: what it promises but for times and growth."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import loadtest.soak.command
from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.faults import all_faults
from loadtest.soak.hostile_server import hostile_server
from loadtest.soak.run import Plan, Soak, soaked_service
from loadtest.soak.screen import Screen
from ovseg.server.ports import free_ports
from ovseg.server.service import Service

FAULTS = ("100 callers leave at once", "kill -9 tritonserver")
"""The second takes long: it begins before the time is up, and is seen through."""

PATIENT = {
    "OVSEG_MAX_WAITING": "100",
    "OVSEG_MAX_WAIT_S": "60",
    "OVSEG_OVERLOAD_WAIT_TURNS": "1000",
}
"""Where other work slows the machine down, these few callers would be an overload."""


def test_killed_processes_are_replaced_and_every_answer_is_right(tmp_path: Path) -> None:
    known = {fault.name: fault for fault in all_faults()}
    faults = [known[name] for name in FAULTS]
    plan = Plan(11.0, fault_every_s=5.0, callers=4, pause_s=0.5, seed=5, faults=faults)
    said: list[str] = []
    log = tmp_path / "service.log"
    with (
        hostile_server() as url,
        soaked_service(log, said.append, PATIENT) as (service, settings),
    ):
        outcome = Soak(plan, service, settings, url, said.append).run(lambda _elapsed_s: None)
    ledger = outcome.ledger

    assert ledger.wrong == [], log.read_text("utf-8")[-2000:]
    assert [injected.what.partition(" ")[0] for injected in outcome.injected] == ["100", "killed"]
    assert all(injected.recovery_s is not None for injected in outcome.injected), said
    assert sum(row.verdicts.total() for row in ledger.rows.values()) == ledger.sent > 60
    assert ledger.total("right") > 30
    assert ledger.expected.same_texts > 10
    assert (outcome.exit_code, outcome.left_behind) == (0, [])


def test_ctrl_c_ends_it_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services: list[Service] = []

    @contextmanager
    def no_service(*_: object) -> Iterator[tuple[Service, dict[str, str]]]:
        """One that answers nothing."""
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        with subprocess.Popen(sleep, text=True) as process:
            rest, grpc = (f"127.0.0.1:{port}" for port in free_ports(2))
            services.append(Service(f"http://{rest}", grpc, process, tmp_path / "log"))
            yield services[0], {}

    def shown(_screen: Screen, soak: Soak) -> Callable[[float], None]:
        def show(elapsed_s: float) -> None:
            if soak.outcome.ledger.sent > 5:
                signal.raise_signal(signal.SIGINT)
            assert elapsed_s < 60

        return show

    monkeypatch.setattr(loadtest.soak.command, "soaked_service", no_service)
    monkeypatch.setattr(loadtest.soak.run, "learn_masks", lambda _addresses: ExpectedMasks(1.0))
    monkeypatch.setattr(Screen, "shown", shown)
    report = tmp_path / "soak.md"

    arguments = ["--minutes", "5", "--only", "none", "--callers", "2", "--out", str(report)]
    ended = CliRunner().invoke(loadtest.soak.command.app, arguments)

    assert ended.exit_code == 1, ended.exception
    assert "interrupted: waiting for the requests under way" in ended.output
    assert f"broken promises; report: {report}" in ended.output
    assert "minutes, interrupted, 2 callers" in report.read_text("utf-8")
    assert services[0].process.returncode == -signal.SIGTERM
