"""The soak itself, for less than a minute: what it promises but for times and growth."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from loadtest.soak.faults import all_faults
from loadtest.soak.hostile_server import hostile_server
from loadtest.soak.run import Plan, Soak, soaked_service
from ovseg.settings import PROJECT_ROOT

FAULTS = ("kill -9 tritonserver", "100 callers leave at once")

PATIENT = {
    "OVSEG_MAX_WAITING": "100",
    "OVSEG_MAX_WAIT_S": "60",
    "OVSEG_OVERLOAD_WAIT_TURNS": "1000",
}
"""Where other work slows the machine down, these few callers would be an overload."""


def test_killed_processes_are_replaced_and_every_answer_is_right(tmp_path: Path) -> None:
    faults = [fault for fault in all_faults() if fault.name in FAULTS]
    plan = Plan(26.0, fault_every_s=10.0, callers=3, pause_s=0.8, seed=5, faults=faults)
    said: list[str] = []
    log = tmp_path / "service.log"
    with (
        hostile_server() as url,
        soaked_service(log, said.append, PATIENT) as (service, settings),
    ):
        outcome = Soak(plan, service, settings, url, said.append).run(lambda _elapsed_s: None)
    ledger = outcome.ledger

    assert ledger.wrong == [], log.read_text("utf-8")[-2000:]
    assert len(outcome.injected) == len(FAULTS)
    assert all(injected.what.startswith(("killed", "100 left")) for injected in outcome.injected)
    assert all(injected.recovery_s is not None for injected in outcome.injected), said
    assert sum(row.verdicts.total() for row in ledger.rows.values()) == ledger.sent > 100
    assert ledger.total("right") > 50
    assert ledger.expected.same_texts > 50
    assert (outcome.exit_code, outcome.left_behind) == (0, [])


def test_ctrl_c_ends_it_cleanly_with_a_report(tmp_path: Path) -> None:
    report = tmp_path / "soak.md"
    command = [sys.executable, "-m", "loadtest.soak", "--minutes", "5", "--only", "none"]
    soak = subprocess.Popen(
        [*command, "--callers", "2", "--out", str(report)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert soak.stdout is not None
        lines = [next(line for line in soak.stdout if "time left" in line)]
        children = psutil.Process(soak.pid).children(recursive=True)
        time.sleep(3.0)
        soak.send_signal(signal.SIGINT)
        lines += soak.stdout.readlines()
        assert soak.wait(60.0) in (0, 1)
    finally:
        soak.kill()

    assert any("interrupted" in line for line in lines)
    assert "0.1 minutes, interrupted" in report.read_text("utf-8")
    assert len(children) > 5
    assert not [child for child in children if child.is_running()]
