"""What crashes again and again is started ever later; what cannot be started ends the service.

One service goes through all of it; only a tritonserver that cannot start has one of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from loadtest.soak.exchanges import post
from ovseg.bench.workload import Request, make_photo, prompt_rows, unseen
from tests.server.crashing import PATIENCE_S, Site, running_site

BACKOFF_S = 2.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {
        "restart_limit": "2",
        "restart_backoff_s": str(BACKOFF_S),
        "restart_backoff_limit_s": str(BACKOFF_S),
        "max_dead_stages": "1",
    }
    with running_site(tmp_path_factory.mktemp("giving-up"), **settings) as running:
        yield running


def last_line_after_the_end(site: Site) -> str:
    """What it said last; it must end by itself, with exit code 1 and nothing left."""
    below = psutil.Process(site.service.process.pid).children(recursive=True)
    assert site.service.process.wait(PATIENCE_S) == 1
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []
    assert site.shared_memory() == []
    printed = site.log.read_text("utf-8")
    assert "Traceback" not in printed
    return printed.strip().splitlines()[-1]


def seconds_until_restart(site: Site, stage: str) -> float:
    """From a kill to when its replacement begins, which is counted as soon as the pause is over."""
    time.sleep(1.0)  # It is known to the supervisor by then: see `test_stubs`.
    (victim,) = site.processes(f"stub {stage}")
    before = site.restarts(stage)
    killed = time.monotonic()
    victim.kill()
    while site.restarts(stage) == before:
        assert time.monotonic() < killed + PATIENCE_S
        time.sleep(0.05)
    return time.monotonic() - killed


def kill_amid_a_request(site: Site, kind: str) -> psutil.Process:
    """Returns what was killed, when another has taken its place."""
    (victim,) = site.processes(kind)
    victim.suspend()
    request = Request(unseen(make_photo()), "box", prompt_rows("box", 1), picture=False)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(post, site.addresses, request.body())
        time.sleep(1.0)  # It has come to the stage by then.
        victim.kill()
        site.wait_for_another(kind, victim)
        answer.result()
    site.wait_until_ready()
    return victim


def test_a_stage_that_crashes_again_is_started_later(site: Site) -> None:
    seconds_until_restart(site, "sam_encoder")  # The first is replaced at once.
    site.wait_until_ready()
    # Up to a half of the wait is left out at random.
    assert seconds_until_restart(site, "sam_encoder") > BACKOFF_S / 2
    site.wait_until_ready()


def test_a_triton_that_keeps_dead_stages_is_started_anew(site: Site) -> None:
    (triton,) = site.processes("tritonserver")
    dead = kill_amid_a_request(site, "stub sam_encoder")
    assert dead.status() == psutil.STATUS_ZOMBIE and triton.is_running(), "it is kept"
    (victim,) = site.processes("stub prompt_decoder")
    victim.kill()
    site.wait_for_another("tritonserver", triton)
    site.wait_until_ready()
    assert "Triton has not freed those that died before" in site.log.read_text("utf-8")


def test_a_stage_with_damaged_weights_ends_the_service(site: Site) -> None:
    for file in (site.log.parent / "models" / "sam_mini" / "encoder").iterdir():
        damaged = file.with_suffix(".damaged")
        damaged.write_bytes(b"damaged")
        damaged.replace(file)  # The running stage may have the old one mapped.
    (victim,) = site.processes("stub sam_encoder")
    victim.kill()
    line = last_line_after_the_end(site)

    assert line.startswith("error: gave up after 2 failed starts within 300 s: ")
    assert "stage sam_encoder: EngineError: " in line
    assert "sam_mini/encoder" in line


def test_too_little_memory_ends_the_service(tmp_path: Path) -> None:
    with running_site(tmp_path, restart_limit="2", restart_backoff_s="0.1") as site:
        supervisor = psutil.Process(site.service.process.pid)
        # Its children inherit it; tritonserver needs far more than the supervisor.
        most = supervisor.memory_info().vms + 200 * 2**20
        supervisor.rlimit(psutil.RLIMIT_AS, (most, most))
        (triton,) = site.processes("tritonserver")
        triton.kill()
        line = last_line_after_the_end(site)

    assert line.startswith("error: gave up after 2 failed starts within 300 s: tritonserver ")
