"""What comes before and behind bodies is bounded, and bodies are not counted as such."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MEGABYTE = 1 << 20


@contextmanager
def connected(http: httpx.Client) -> Iterator[socket.socket]:
    address = (http.base_url.host, http.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def answer_to(connection: socket.socket, *parts: bytes) -> bytes:
    """What comes back until the server hangs up, however much of the parts it takes."""
    try:
        for part in parts:
            connection.sendall(part)
    except OSError:
        pass  # It has hung up already.
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass  # Not all of what was sent was read.
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MEGABYTE,
        HEAD.encode() + b"X-Endless: " + b"a" * MEGABYTE,
        HEAD.encode() + b"X-Many: a\r\n" * 100_000,
    ],
    ids=["line", "one header", "many headers"],
)
def test_an_endless_head_is_431(http: httpx.Client, head: bytes) -> None:
    # Just more than is allowed, so that nothing is left unread and the answer gets through.
    with connected(http) as connection:
        received = answer_to(connection, head[: 64 * 1024 + 1])
    assert received.startswith(b"HTTP/1.1 431 ")
    answer = json.loads(received.partition(b"\r\n\r\n")[2])
    assert answer["errorCode"] == 431 and "larger than 65536 bytes" in answer["errorMsg"]
    assert answer["logId"]
    with connected(http) as connection:
        assert b"HTTP/1.1 200" not in answer_to(connection, head)


def test_endless_trailers_are_431(http: httpx.Client) -> None:
    content = json.dumps(body()).encode()
    chunk = b"%x\r\n%s\r\n0\r\n" % (len(content), content)
    with connected(http) as connection:
        connection.sendall(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        connection.sendall(b"X-Trailer: ")
        sent = 0
        while sent < MEGABYTE and not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"a" * 16_384)
            sent += 16_384
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_bodies_and_many_requests_on_one_connection_are_no_head(http: httpx.Client) -> None:
    large = json.dumps(body() | {"padding": "a" * 300_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in large[:20_000])
    rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large) - 20_000, large[20_000:])
    for _ in range(3):
        assert http.post(
            PATH, content=large, headers={"Content-Type": "application/json"}
        ).is_success
    with connected(http) as connection:
        for _ in range(3):
            connection.sendall(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            connection.sendall(chunks)
            connection.sendall(rest)
            received = b""
            while b'"errorCode":' not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 ")


def test_no_http_is_400(http: httpx.Client) -> None:
    with connected(http) as connection:
        assert answer_to(connection, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("at_once", [True, False], ids=["in one piece", "body later"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_offer_of_another_protocol_is_declined_and_the_body_read(
    http: httpx.Client, triton: FakeTriton, at_once: bool, framing: str
) -> None:
    """As Java's HttpClient and `curl --http2` send it; httptools alone loses the body."""
    content = json.dumps(body(logId="mine")).encode()
    head = HEAD + (
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    )
    if framing == "chunks":
        head += "Transfer-Encoding: chunked\r\n"
        content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    else:
        head += f"Content-Length: {len(content)}\r\n"
    with connected(http) as connection:
        for _ in range(2):  # The connection can be used again.
            if at_once:
                connection.sendall(head.encode() + b"\r\n" + content)
            else:
                connection.sendall(head.encode() + b"\r\n")
                time.sleep(0.05)
                connection.sendall(content)
            received = b""
            while b'"errorCode":' not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 ") and b'"logId":"mine"' in received
    assert len(triton.calls) == 2


def test_an_offer_of_another_protocol_without_a_body_is_declined(http: httpx.Client) -> None:
    headers = {"Connection": "Upgrade, close", "Upgrade": "websocket"}
    with connected(http) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        received = answer_to(
            connection, f"GET /health/live HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
        )
    assert received.startswith(b"HTTP/1.1 200 ") and b"connection: close" in received.lower()


def test_connect_is_400(http: httpx.Client) -> None:
    with connected(http) as connection:
        received = answer_to(connection, b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
