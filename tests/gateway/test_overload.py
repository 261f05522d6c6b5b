"""More requests than can be answered: a few wait, the others are refused at once."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body


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


def test_after_a_burst_a_few_callers_who_never_wait_are_all_answered(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 0.3

    def ask_in_a_loop(base_url: httpx.URL) -> list[int]:
        with httpx.Client(base_url=base_url, timeout=30) as own:
            return [own.post(PATH, json=body()).status_code for _ in range(3)]

    with start_gateway(max_running=1, max_waiting=4) as http:
        with httpx.Client(base_url=http.base_url, timeout=30) as crowd:
            for _ in range(3):
                with asking(crowd, 30) as refused:
                    pass
        with ThreadPoolExecutor(3) as pool:
            statuses = list(pool.map(ask_in_a_loop, [http.base_url] * 3))

    assert [answer.status_code for answer in refused].count(503) > 20
    assert statuses == [[200] * 3] * 3


def test_a_refusal_is_held_back_for_the_others_sake(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s = 1.0
    with start_gateway(max_running=1, max_waiting=0, refusal_delay_s=0.4) as http, asking(http, 1):
        wait_for_calls(triton)
        refusal = http.post(PATH, json=body())

    assert refusal.status_code == 503
    assert 0.4 <= refusal.elapsed.total_seconds() < 0.9


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
