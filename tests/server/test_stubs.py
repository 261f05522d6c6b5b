"""Which of tritonserver's children died, seen from outside; plain processes play both parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ovseg.server.child_process import process_state
from ovseg.server.stubs import DeadStub, StubWatch
from ovseg.settings import PROJECT_ROOT, Settings
from ovseg.stage_clock import FOLDER_VARIABLE, busy_s

PARENT = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"
WatchOf = Callable[[psutil.Process], StubWatch]

HANG_TIMEOUT_S = 1.0
# At one request after another, until a file appears; then at one for good.
CHILD = """
import pathlib, sys, time
from ovseg.stage_clock import StageClock
clock = StageClock()
while True:
    with clock.running():
        time.sleep(0.3)
        while pathlib.Path(sys.argv[0]).with_name("hang").exists():
            pass
"""


@pytest.fixture
def watch_of(tmp_path: Path) -> WatchOf:
    return lambda triton: StubWatch(triton.pid, tmp_path / "clocks", HANG_TIMEOUT_S)


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process with one child, a stub of `sam_encoder.other`; it waits for no child that ends."""
    stub = tmp_path / "triton_python_backend_stub"
    stub.symlink_to(sys.executable)
    model_file = tmp_path / "sam_encoder.other" / "1" / "model.py"
    model_file.parent.mkdir(parents=True)
    model_file.write_text(CHILD)
    command = [sys.executable, "-c", PARENT, str(stub), str(model_file), "region_7"]
    environment = {
        **os.environ,
        FOLDER_VARIABLE: str(tmp_path / "clocks"),
        "PYTHONPATH": str(PROJECT_ROOT),  # The link to Python does not know its environment.
    }
    with subprocess.Popen(command, env=environment) as process:
        parent = psutil.Process(process.pid)
        wait_until(
            lambda: bool(parent.children()) and stub.name in parent.children()[0].cmdline()[0]
        )
        yield parent
        with suppress(psutil.NoSuchProcess):  # A test may have killed it.
            for child in parent.children():
                child.kill()
        process.kill()


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_death(watch: StubWatch) -> DeadStub:
    found: list[DeadStub] = []
    wait_until(lambda: bool(found.extend(watch.dead()) or found))
    (dead,) = found
    return dead


def test_a_killed_stub_is_told_once_with_all_that_is_known_of_it(
    triton: psutil.Process, watch_of: WatchOf
) -> None:
    watch = watch_of(triton)
    assert watch.dead() == []
    (child,) = triton.children()
    child.kill()
    dead = wait_for_death(watch)

    assert (dead.exit_code, dead.stub.pid) == (-signal.SIGKILL, child.pid)
    assert (dead.stub.triton_model, dead.stub.stage) == ("sam_encoder.other", "sam_encoder")
    assert dead.stub.region == "region_7"
    # The zombie stays, and is no news.
    time.sleep(2.5)
    watch.scan()
    watch.scan()
    assert watch.dead() == []
    assert not watch.has_unknown_dead
    assert watch.kept_by_triton == 1


def test_what_triton_waited_for_is_not_kept(triton: psutil.Process, watch_of: WatchOf) -> None:
    watch = watch_of(triton)
    watch.scan()
    (child,) = triton.children()
    child.kill()
    wait_for_death(watch)
    assert watch.kept_by_triton == 1
    triton.kill()  # Whoever inherits the zombie waits for it.
    triton.wait(30)
    wait_until(lambda: watch.kept_by_triton == 0)


def test_a_stopped_stub_is_killed_and_a_short_stop_forgiven(
    triton: psutil.Process, watch_of: WatchOf
) -> None:
    watch = watch_of(triton)
    (child,) = triton.children()
    for _ in range(2):
        child.suspend()
        assert watch.dead() == []
        time.sleep(1.2)
        child.resume()
        wait_until(lambda: (state := process_state(child.pid)) is not None and state.letter != "T")
        assert watch.dead() == []
    child.suspend()
    dead = wait_for_death(watch)

    assert (dead.exit_code, dead.why_killed) == (-signal.SIGKILL, "was stopped by a signal")


def test_a_stub_that_spins_at_one_request_is_killed_and_a_busy_one_is_not(
    triton: psutil.Process, watch_of: WatchOf, tmp_path: Path
) -> None:
    watch = watch_of(triton)
    (child,) = triton.children()
    wait_until(lambda: 0.0 < busy_s(tmp_path / "clocks", child.pid) < HANG_TIMEOUT_S)
    busy_until = time.monotonic() + 2 * HANG_TIMEOUT_S
    while time.monotonic() < busy_until:
        assert watch.dead() == []
        time.sleep(0.05)
    (tmp_path / "sam_encoder.other" / "1" / "hang").touch()
    dead = wait_for_death(watch)

    assert (dead.exit_code, dead.why_killed) == (-signal.SIGKILL, "was at one request for 1 s")
    assert busy_s(tmp_path / "clocks", child.pid) == 0.0  # Nothing for who has the number next.


def test_a_stub_that_died_unseen_is_noticed(triton: psutil.Process, watch_of: WatchOf) -> None:
    (child,) = triton.children()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE)
    watch = watch_of(triton)

    assert watch.dead() == []
    assert not watch.has_unknown_dead  # Triton may be about to wait for it.
    wait_until(lambda: watch.dead() == [] and watch.has_unknown_dead)


def test_a_stage_hangs_after_twice_the_time_that_requests_are_given_unless_set() -> None:
    assert Settings(request_timeout_s=600).is_hanging_after_s == 1200
    assert Settings(request_timeout_s=600, hang_timeout_s=5).is_hanging_after_s == 5
