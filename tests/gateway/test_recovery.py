"""A request whose stage crashes: waits until the supervisor is done, and is tried once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ovseg_gateway.app import create_app

from ovseg.server.service_status import StatusReader, StatusWriter
from ovseg.settings import Settings
from tests.gateway.conftest import served
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

CRASH = ("INTERNAL", "Stub process 'sam_encoder_0_0' is not healthy")
WAIT_S = 1.5


@pytest.fixture
def supervisor(tmp_path: Path) -> StatusWriter:
    """What the supervisor says; all is well at first."""
    status = StatusWriter(tmp_path / "status.json")
    status.set_whole()
    return status


@contextmanager
def gateway(tmp_path: Path, triton: FakeTriton) -> Iterator[httpx.Client]:
    app = create_app(
        Settings(recovery_wait_s=WAIT_S),
        client=triton,
        status=StatusReader(tmp_path / "status.json"),
    )
    with (
        served(app) as base_url,
        httpx.Client(base_url=base_url, timeout=30, trust_env=False) as http,
    ):
        yield http


def test_a_request_that_a_crash_ended_is_tried_again_when_all_is_well(
    tmp_path: Path, triton: FakeTriton, supervisor: StatusWriter
) -> None:
    triton.fail(*CRASH)

    def replace_the_stage() -> None:
        while not triton.calls:
            time.sleep(0.01)
        supervisor.set_broken("stage sam_encoder was killed by SIGKILL")
        time.sleep(0.6)
        triton.failure = None
        supervisor.set_whole()

    with gateway(tmp_path, triton) as http:
        replacing = threading.Thread(target=replace_the_stage)
        replacing.start()
        answer = http.post(PATH, json=body())
        replacing.join()

    assert answer.status_code == 200
    assert len(triton.calls) == 2


def test_a_request_that_ends_its_stage_twice_is_refused(
    tmp_path: Path, triton: FakeTriton, supervisor: StatusWriter
) -> None:
    triton.fail(*CRASH)
    with gateway(tmp_path, triton) as http:
        answer = http.post(PATH, json=body())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "restarting" in answer.json()["errorMsg"]
    assert len(triton.calls) == 2


def test_a_callers_mistake_is_not_tried_again(
    tmp_path: Path, triton: FakeTriton, supervisor: StatusWriter
) -> None:
    triton.fail("INVALID_ARGUMENT", "in ensemble 'x', image: not an image")
    with gateway(tmp_path, triton) as http:
        answer = http.post(PATH, json=body())

    assert answer.status_code == 422
    assert len(triton.calls) == 1


def test_nothing_is_sent_while_the_service_is_broken_and_nobody_waits_for_ever(
    tmp_path: Path, triton: FakeTriton, supervisor: StatusWriter
) -> None:
    supervisor.set_broken("stage sam_encoder was killed by SIGKILL")
    with gateway(tmp_path, triton) as http:
        asked = time.monotonic()
        first = http.post(PATH, json=body())
        waited_s = time.monotonic() - asked
        # The trouble is as old for those who come later.
        asked = time.monotonic()
        second = http.post(PATH, json=body())
        second_waited_s = time.monotonic() - asked
        ready = http.get("/health/ready")
        supervisor.set_whole()
        third = http.post(PATH, json=body())

    assert (first.status_code, second.status_code, third.status_code) == (503, 503, 200)
    assert first.headers["retry-after"] == "1"
    assert waited_s >= WAIT_S
    assert second_waited_s < WAIT_S / 2
    assert ready.status_code == 503
    assert len(triton.calls) == 1


def test_a_model_that_works_goes_on_while_another_is_replaced(
    tmp_path: Path, triton: FakeTriton, supervisor: StatusWriter
) -> None:
    triton.served = {"first": "box,point", "second": "box,point"}
    supervisor.set_broken("stage sam_encoder.second was killed by SIGKILL", ("second",))
    with gateway(tmp_path, triton) as http:
        first = http.post(PATH, json=body(model="first"))
        second = http.post(PATH, json=body(model="second"))

    assert (first.status_code, second.status_code) == (200, 503)
