"""More requests than can be answered: a few wait, the others are refused at once."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
from ovseg_gateway.admission import Admission, Place
from ovseg_gateway.errors import OverloadedError
from ovseg_gateway.metrics import Metrics

from ovseg.settings import Settings
from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

LONG_S = 30.0


def admission(**settings: object) -> Admission:
    return Admission(Settings(**{"max_running": 1, "max_waiting": 4, **settings}), Metrics())


async def run_for(queue: Admission, seconds: float, kind: str = "known") -> None:
    with queue.place() as place:
        async with place.turn(kind):
            await asyncio.sleep(seconds)


def test_turns_are_taken_in_the_order_of_arrival_and_no_more_than_allowed_run() -> None:
    order: list[int] = []
    inside = most = 0

    async def one(queue: Admission, number: int) -> None:
        nonlocal inside, most
        with queue.place() as place:
            async with place.turn("known"):
                order.append(number)
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

    async def all_at_once() -> None:
        queue = admission(max_running=2, max_waiting=9)
        await asyncio.gather(*(one(queue, number) for number in range(9)))

    asyncio.run(all_at_once())
    assert order == list(range(9))
    assert most == 2


def test_who_finds_the_queue_full_is_refused_and_a_place_that_is_left_is_free_again() -> None:
    async def scenario() -> None:
        queue = admission(max_waiting=2)
        tasks = [asyncio.create_task(run_for(queue, LONG_S)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            queue.check()
        tasks[2].cancel()  # It waits; the first one runs.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.check()
        for task in tasks:
            task.cancel()

    asyncio.run(scenario())


def test_the_expected_wait_is_the_rest_of_the_turn_and_a_turn_for_each_that_waits() -> None:
    async def scenario() -> float:
        queue = admission()
        await run_for(queue, 0.2)
        assert queue.expected_wait_s() == 0
        tasks = [asyncio.create_task(run_for(queue, 0.2)) for _ in range(3)]
        await asyncio.sleep(0.1)
        wait = queue.expected_wait_s()
        await asyncio.gather(*tasks)
        return wait

    assert (
        0.35 < asyncio.run(scenario()) < 0.8
    )  # half of a turn, and two; generous for a slow machine


def test_who_would_wait_too_long_is_told_when_to_come_back() -> None:
    async def scenario() -> OverloadedError:
        queue = admission(max_wait_s=0.5)
        queue._learn("known", 7.0)
        running = asyncio.create_task(run_for(queue, LONG_S))
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as refused:
            queue.check()
        running.cancel()
        return refused.value

    assert asyncio.run(scenario()).headers == {"Retry-After": "7"}


def test_a_burst_may_wait_but_nobody_waits_a_whole_turn_under_lasting_overload() -> None:
    async def scenario() -> None:
        queue = admission(max_waiting=8)
        queue._learn("known", 0.5)
        running = asyncio.create_task(run_for(queue, LONG_S))
        await asyncio.sleep(0.01)
        for _ in range(4):
            queue.arrive()
        assert not queue.is_overloaded
        for _ in range(40):
            try:
                queue.arrive()
            except OverloadedError:
                break
        assert queue.is_overloaded
        running.cancel()

    asyncio.run(scenario())


def test_a_burst_that_is_over_is_not_held_against_those_who_come_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("ovseg_gateway.admission.time", SimpleNamespace(monotonic=lambda: now))

    async def turn(queue: Admission) -> None:
        nonlocal now
        with queue.place() as place:
            async with place.turn("known"):
                now += 0.1
        queue.count_answer()

    async def burst_and_then_few() -> None:
        nonlocal now
        queue = admission()
        await turn(queue)
        for _ in range(200):
            queue.arrive()
        assert queue.is_overloaded
        for _ in range(30):  # Five a second, of the ten that can be done.
            now += 0.1
            queue.arrive()
            await turn(queue)
        assert not queue.is_overloaded

    asyncio.run(burst_and_then_few())


def test_callers_who_wait_for_their_answers_are_no_overload_however_slow_the_server() -> None:
    async def scenario() -> None:
        queue = admission(max_waiting=8)
        queue._learn("known", 2.0)
        running = [asyncio.create_task(run_for(queue, LONG_S)) for _ in range(4)]
        await asyncio.sleep(0.01)
        for _ in range(40):  # One is answered and asks again.
            queue.count_answer()
            queue.arrive()
        assert queue._offered.value > 50
        assert not queue.is_overloaded
        for task in running:
            task.cancel()

    asyncio.run(scenario())


def test_requests_that_want_nothing_of_triton_are_no_overload() -> None:
    async def scenario() -> None:
        queue = admission(max_waiting=8)
        queue._learn("known", 0.5)
        running = asyncio.create_task(run_for(queue, LONG_S))
        await asyncio.sleep(0.01)
        for _ in range(100):
            queue.withdraw(queue.arrive())
        assert not queue.is_overloaded
        running.cancel()

    asyncio.run(scenario())


def test_a_flood_of_wrong_requests_keeps_nobody_out(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 0.5
    with start_gateway(max_running=1, max_waiting=8) as http:
        assert http.post(PATH, json=body()).status_code == 200  # So long takes a turn.
        for wrong in ({"image": "!"}, {"prompt": [[1]]}, {"imageId": "0" * 64, "image": ""}) * 20:
            assert http.post(PATH, json=body(**wrong)).status_code in (404, 422)
        with asking(http, 4) as answers:
            pass

    assert [answer.status_code for answer in answers] == [200] * 4


def test_a_turn_goes_on_after_its_caller_has_left() -> None:
    async def scenario() -> None:
        queue = admission(max_waiting=0)
        over = asyncio.Event()

        async def work(place: Place) -> None:
            async with place.turn("known"):
                await over.wait()

        with queue.place() as place:
            task = asyncio.create_task(work(place))
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            queue.check()
        over.set()
        await task
        queue.check()

    asyncio.run(scenario())


@contextmanager
def asking(http: httpx.Client, count: int) -> Iterator[list[httpx.Response]]:
    """So many requests under way while the block runs; then their answers."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(max(count, 1)) as pool:
        futures = [pool.submit(http.post, PATH, json=body(logId=f"n{i}")) for i in range(count)]
        yield answers
        answers += [future.result() for future in futures]


def wait_for_calls(triton: FakeTriton, count: int = 1) -> None:
    deadline = time.monotonic() + 10
    while len(triton.calls) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_answer(connection: socket.socket) -> int:
    """Read one answer to its end; its status."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def test_beyond_the_queue_the_answer_is_503_at_once_and_nothing_is_lost(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 1.0
    with start_gateway(max_running=1, max_waiting=1) as http:
        with asking(http, 6) as answers:
            wait_for_calls(triton)
            health = [http.get(path).status_code for path in ("/health/live", "/metrics")]
        metrics = http.get("/metrics").text

    assert health == [200, 200]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 503, 503, 503, 503]
    assert len(triton.calls) == 2
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["errorCode"] == 503
            assert answer.elapsed.total_seconds() < 0.8  # at once, not after somebody's turn
    assert 'ovseg_gateway_refusals_total{reason="overload"} 4.0' in metrics
    assert "ovseg_gateway_waiting_requests 0.0" in metrics
    assert "ovseg_gateway_running_requests 0.0" in metrics
    assert "ovseg_gateway_held_body_bytes 0.0" in metrics


def test_a_refusal_comes_before_the_body_and_the_connection_can_be_used_again(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 1.5
    with start_gateway(max_running=1, max_waiting=0) as http, asking(http, 1):
        wait_for_calls(triton)
        address = (http.base_url.host, http.base_url.port or 80)
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n".encode()
            )
            refusal = read_answer(connection)  # while not a byte of the body has been sent
            for _ in range(300):
                connection.sendall(b" " * 10_000)
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            alive = read_answer(connection)

    assert (refusal, alive) == (503, 200)


def test_the_bytes_of_all_bodies_together_are_bounded(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 1.5
    large = body(filler="x" * 60_000)
    with start_gateway(max_body_bytes=100_000, max_held_bytes=100_000) as http:
        first = threading.Thread(target=http.post, args=(PATH,), kwargs={"json": large})
        first.start()
        wait_for_calls(triton)
        declared = http.post(PATH, json=large)
        chunked = http.post(
            PATH,
            content=(b" " * 10_000 for _ in range(6)),
            headers={"Content-Type": "application/json"},
        )
        small = http.post(PATH, json=body())
        first.join()
        afterwards = http.post(PATH, json=large)

    assert (declared.status_code, chunked.status_code) == (503, 503)
    assert (small.status_code, afterwards.status_code) == (200, 200)


def test_requests_whose_bodies_are_on_their_way_are_bounded_and_timed(
    start_gateway: StartGateway,
) -> None:
    with start_gateway(max_open_requests=1, body_timeout_s=0.5) as http:
        address = (http.base_url.host, http.base_url.port or 80)
        with socket.create_connection(address, timeout=5) as slow:
            slow.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n ".encode())
            time.sleep(0.1)
            second = http.post(PATH, json=body())
            answer = slow.recv(65536)
        third = http.post(PATH, json=body())

    assert second.status_code == 503
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert third.status_code == 200
