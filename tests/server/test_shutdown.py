"""Told to stop while callers ask: nobody loses a request; told twice, it hurries."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from loadtest.soak.exchanges import Exchange
from loadtest.steady_load import SteadyLoad
from tests.server.crashing import PATIENCE_S, is_clear_refusal, lost, running_site

DRAIN_DELAY_S = 2.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shutdown")


def came_too_late(exchange: Exchange) -> bool:
    """Whether nobody listened any more."""
    return exchange.end == "cut" and "refused" in exchange.message


def test_sigterm_under_load_loses_no_request(folder: Path) -> None:
    with running_site(folder, drain_delay_s=str(DRAIN_DELAY_S)) as site:
        below = psutil.Process(site.service.process.pid).children(recursive=True)
        with SteadyLoad(site.addresses) as load:
            load.wait_for_answers(3)
            told = time.monotonic()
            site.service.process.terminate()
            exit_code = site.service.process.wait(PATIENCE_S)
        _, alive = psutil.wait_procs(below, timeout=10)

    assert exit_code == 0
    assert alive == [] and site.shared_memory() == []
    # Who looks at /health/ready had time to go elsewhere.
    ready = {look.status for look in load.looks if look.sent > told + DRAIN_DELAY_S / 2}
    assert 503 in ready and ready <= {503, 0}
    early = [e for e in load.exchanges if e.sent < told + DRAIN_DELAY_S]
    assert any(e.sent > told for e in early)
    assert lost(early) == []
    late = [e for e in load.exchanges if e not in early]
    assert any(map(is_clear_refusal, late))
    assert all(e.status == 200 or is_clear_refusal(e) or came_too_late(e) for e in late), late
    assert load.wrong == []


def test_a_second_signal_hurries_and_what_is_under_way_gets_a_503(folder: Path) -> None:
    with running_site(folder, drain_delay_s="60") as site:
        below = psutil.Process(site.service.process.pid).children(recursive=True)
        with SteadyLoad(site.addresses) as load:
            load.wait_for_answers(3)
            site.service.process.terminate()
            load.wait_for_answers(3)  # It goes on serving.
            hurried = time.monotonic()
            site.service.process.send_signal(signal.SIGINT)
            exit_code = site.service.process.wait(PATIENCE_S)
            ended = time.monotonic()
        _, alive = psutil.wait_procs(below, timeout=10)

    assert exit_code == 128 + signal.SIGINT
    assert ended - hurried < 20.0
    assert alive == [] and site.shared_memory() == []
    under_way = [e for e in load.exchanges if e.sent < hurried < e.ended]
    assert under_way and any(map(is_clear_refusal, under_way))
    assert all(e.status == 200 or is_clear_refusal(e) for e in under_way), under_way
    assert lost(e for e in load.exchanges if e.ended < hurried) == []
    assert load.wrong == []
