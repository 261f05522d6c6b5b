"""Bodies that are too large, and images that are."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import httpx

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body, locations


def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(
    start_gateway: StartGateway,
) -> None:
    with start_gateway(max_body_bytes=1000) as http:
        address = (http.base_url.host, http.base_url.port or 80)
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                "Content-Length: 1001\r\n\r\n".encode()
            )
            answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_caller_who_is_still_sending_gets_the_refusal(start_gateway: StartGateway) -> None:
    with start_gateway(max_body_bytes=1000) as http:
        address = (http.base_url.host, http.base_url.port or 80)
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                "Content-Length: 20000\r\n\r\n".encode()
            )
            for _ in range(20):
                time.sleep(0.01)
                connection.sendall(b" " * 1000)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"errorCode":413' in answer


def test_a_body_of_unknown_length_is_refused_while_it_streams_in(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield b" " * 100_000

    with start_gateway(max_body_bytes=1_000_000) as http:
        try:
            response = http.post(PATH, content=endless())
        except httpx.WriteError:
            response = None  # the gateway closed the connection while we were sending

    assert sent < 10_000
    assert response is None or response.status_code == 413
    assert triton.calls == []


def test_a_body_that_is_too_long_by_its_last_bytes_is_refused_at_once(
    start_gateway: StartGateway,
) -> None:
    with start_gateway(max_body_bytes=1000) as http:
        started = time.monotonic()
        response = http.post(PATH, content=iter([b" " * 600, b" " * 600]))

    assert response.status_code == 413
    assert time.monotonic() - started < 5


def test_a_body_of_exactly_the_limit_is_read(start_gateway: StartGateway) -> None:
    with start_gateway(max_body_bytes=1000) as http:
        text = b'{"logId": "x"}'.ljust(1000)
        at_the_limit = http.post(PATH, content=text)
        beyond = http.post(PATH, content=text + b" ")

    assert at_the_limit.status_code == 422
    assert beyond.status_code == 413
    assert beyond.json().keys() == {"logId", "errorCode", "errorMsg"}


def test_an_image_file_larger_than_the_limit_is_refused(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway(max_image_bytes=100) as http:
        accepted = http.post(PATH, json=body(image=base64.b64encode(bytes(100)).decode()))
        refused = http.post(PATH, json=body(image=base64.b64encode(bytes(101)).decode()))

    assert accepted.status_code == 200
    assert locations(refused) == ["body.image"]
    assert len(triton.calls) == 1


def test_a_body_that_stops_coming_is_refused_with_408(start_gateway: StartGateway) -> None:
    with start_gateway(body_timeout_s=0.3) as http:
        address = (http.base_url.host, http.base_url.port or 80)
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                'Content-Length: 1000\r\n\r\n{"logId":'.encode()
            )
            started = time.monotonic()
            answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"errorCode":408' in answer
    assert 0.1 < time.monotonic() - started < 5


def test_a_body_that_drips_in_is_refused_with_408(start_gateway: StartGateway) -> None:
    def dripping() -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.02)
            yield b" "

    with start_gateway(body_timeout_s=0.3) as http:
        started = time.monotonic()
        try:
            response = http.post(PATH, content=dripping())
        except httpx.WriteError:
            response = None
        took = time.monotonic() - started

    assert took < 3.5  # all of it would take 4 s
    assert response is None or response.status_code == 408
