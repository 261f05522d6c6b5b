"""Concurrent requests for one new image: the first goes alone, the others follow."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ovseg_gateway.image_locks import ImageLocks
from ovseg_gateway.single_flight import SingleFlight

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body


class Stage:
    """Counts who is inside at the same time."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.order: list[int] = []

    async def run(self, flights: SingleFlight, image: str, number: int, fails: bool) -> bool:
        """One request; whether it waited."""
        async with flights.turn("model", image) as turn:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(number)
            await asyncio.sleep(0.01)
            self.inside -= 1
            if fails:
                raise ValueError(number)
        return turn.waited_s is not None


def run(flights: SingleFlight, images: list[str], failing: int = 0) -> tuple[Stage, list[object]]:
    """All at once; the first `failing` of them fail."""
    stage = Stage()

    async def together() -> list[object]:
        tasks = [stage.run(flights, image, i, i < failing) for i, image in enumerate(images)]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    return stage, asyncio.run(together())


def test_the_first_goes_alone_and_the_others_go_together_after_it() -> None:
    stage, waited = run(SingleFlight(8), ["a"] * 4)

    assert waited == [False, True, True, True]
    assert stage.order[0] == 0
    assert stage.most == 3


def test_different_images_do_not_wait_for_each_other() -> None:
    stage, waited = run(SingleFlight(8), ["a", "b", "c"])

    assert waited == [False] * 3
    assert stage.most == 3


def test_an_image_that_was_answered_before_is_not_waited_for() -> None:
    flights = SingleFlight(8)
    run(flights, ["a"])
    stage, waited = run(flights, ["a"] * 3)

    assert waited == [False] * 3
    assert stage.most == 3


def test_a_forgotten_image_is_a_new_one() -> None:
    flights = SingleFlight(1)
    run(flights, ["a"])
    run(flights, ["b"])

    assert run(flights, ["a"] * 2)[1] == [False, True]


def test_a_failure_stays_its_own_and_the_next_becomes_the_first() -> None:
    stage, results = run(SingleFlight(8), ["a"] * 5, failing=2)

    assert [str(result) for result in results[:2]] == ["0", "1"]
    assert results[2:] == [True, True, True]
    assert stage.order[:3] == [0, 1, 2]
    assert stage.most == 2  # 3 and 4, after 2 has succeeded


def test_a_cancelled_first_request_does_not_block_the_others() -> None:
    async def scenario() -> bool:
        flights = SingleFlight(8)
        stage = Stage()
        first = asyncio.create_task(stage.run(flights, "a", 0, False))
        await asyncio.sleep(0)
        second = asyncio.create_task(stage.run(flights, "a", 1, False))
        await asyncio.sleep(0.002)
        first.cancel()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(scenario()) is True


def test_nobody_waits_where_there_is_no_cache() -> None:
    stage, waited = run(SingleFlight(0), ["a"] * 3)

    assert waited == [False] * 3
    assert stage.most == 3


def test_waiting_is_given_up_when_it_did_not_help() -> None:
    flights = SingleFlight(8)

    async def joins() -> None:
        async with flights.turn("model", "a") as first:
            follower = asyncio.create_task(wait_and_note())
            await asyncio.sleep(0.002)
        flights.note_encoded(first)
        await follower

    async def wait_and_note() -> None:
        async with flights.turn("model", "a") as turn:
            pass
        flights.note_encoded(turn)  # The cache had nothing, although the first had succeeded.

    asyncio.run(joins())
    assert run(flights, ["b"] * 3)[0].most == 3


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[ImageLocks]:
    opened = ImageLocks("127.0.0.1:1", tmp_path / "locks")
    yield opened
    opened.close()


OTHER_PROCESS = """
import asyncio, pathlib, sys
from ovseg_gateway.image_locks import ImageLocks
locks = ImageLocks("127.0.0.1:1", pathlib.Path(sys.argv[1]))
asyncio.run(locks.acquire(b"a digest"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_gateway(tmp_path: Path, locks: ImageLocks) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of `a digest` until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "locks")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_waited_for_and_its_death_ends_the_wait(
    locks: ImageLocks, other_gateway: subprocess.Popen[str]
) -> None:
    async def scenario() -> bool:
        assert await locks.acquire(b"b digest") is False  # another image
        waiting = asyncio.create_task(locks.acquire(b"a digest"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other_gateway.kill()
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(scenario()) is True


def test_gateways_of_another_triton_are_not_waited_for(
    tmp_path: Path, other_gateway: subprocess.Popen[str]
) -> None:
    locks = ImageLocks("127.0.0.1:2", tmp_path / "locks")
    assert asyncio.run(locks.acquire(b"a digest")) is False
    locks.close()


def test_requests_that_joined_are_counted_and_say_so(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 0.3
    with start_gateway() as http, ThreadPoolExecutor(3) as pool:
        requests = [pool.submit(http.post, PATH, json=body()) for _ in range(3)]
        answers = [request.result() for request in requests]
        metrics = http.get("/metrics").text

    assert [answer.status_code for answer in answers] == [200] * 3
    assert sum("wait;dur=" in answer.headers["server-timing"] for answer in answers) == 2
    assert "ovseg_gateway_joined_requests_total 2.0" in metrics


def test_a_request_that_waits_too_long_is_a_504(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 0.6
    with start_gateway(request_timeout_s=0.3) as http, ThreadPoolExecutor(2) as pool:
        requests = [pool.submit(http.post, PATH, json=body()) for _ in range(2)]
        answers = [request.result() for request in requests]

    assert [answer.status_code for answer in answers] == [504, 504]


def test_a_failing_first_request_fails_alone(http: httpx.Client, triton: FakeTriton) -> None:
    triton.fail("INTERNAL", "boom")
    assert http.post(PATH, json=body()).status_code == 500
    triton.reset()
    assert http.post(PATH, json=body()).status_code == 200
