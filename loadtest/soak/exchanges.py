"""One request and what came of it, over HTTP or gRPC, from callers who behave and who do not."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import orjson
from ovseg_client import Client
from ovseg_client.errors import ApiError, ConnectionFailedError
from ovseg_client.prediction import Rle

from ovseg.bench.callers import ROUTE
from ovseg.bench.workload import PromptKind

JSON_HEADERS = {"Content-Type": "application/json"}
TIMEOUT_S = 60.0
"""Nobody waits longer: no answer by then is a broken promise."""

End = Literal["answered", "cut", "hung", "left"]


@dataclass(frozen=True)
class Exchange:
    """One request and its end; times are `time.monotonic`, in seconds."""

    sent: float
    ended: float
    end: End
    """"cut": the connection broke or was never made; "left": the caller hung up on purpose."""
    status: int = 0
    """HTTP status, or for gRPC the one that REST has for it; 0 without an answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; empty over gRPC."""
    rles: list[Rle] | None = None
    """The masks of a 200."""
    message: str = ""
    """`errorMsg` of a refusal, or what broke."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.sent


@dataclass(frozen=True)
class Addresses:
    """Where the service is."""

    host: str
    port: int
    grpc_address: str
    """host:port of Triton."""


def post(
    addresses: Addresses,
    body: bytes | Iterable[bytes],
    headers: Mapping[str, str] = JSON_HEADERS,
    *,
    method: str = "POST",
    path: str = ROUTE,
) -> Exchange:
    """One HTTP request on a connection of its own; an iterable is sent in chunks."""
    connection = http.client.HTTPConnection(addresses.host, addresses.port, timeout=TIMEOUT_S)

    def answer(sent: float) -> Exchange:
        connection.connect()
        chunked = not isinstance(body, bytes)
        # A refusal may come while the body is still on its way, and can be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, dict(headers), encode_chunked=chunked)
        return _read(sent, connection.getresponse())

    try:
        return _timed(answer)
    finally:
        connection.close()


def raw(addresses: Addresses, act: Callable[[socket.socket], bool]) -> Exchange:
    """What a caller does who writes bytes to the port; `act` says whether to wait for an answer."""

    def answer(sent: float) -> Exchange:
        address = (addresses.host, addresses.port)
        with socket.create_connection(address, TIMEOUT_S) as connection:
            if not act(connection):
                return Exchange(sent, time.monotonic(), "left")
            response = http.client.HTTPResponse(connection)
            response.begin()
            return _read(sent, response)

    return _timed(answer)


def head(length: int) -> bytes:
    """The head of a POST with a JSON body of `length` bytes."""
    return (
        f"POST {ROUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode("ascii")


def grpc(
    addresses: Addresses,
    image: bytes,
    kind: PromptKind,
    rows: tuple[tuple[float, ...], ...],
    picture: bool,
) -> Exchange:
    """A request straight to Triton."""
    coords = np.array(rows, np.float32)
    boxes, points = (coords, None) if kind == "box" else (None, coords)

    def answer(sent: float) -> Exchange:
        # Every refusal and every crash counts here.
        address = f"grpc://{addresses.grpc_address}"
        with Client(address, timeout=TIMEOUT_S, retries=0) as client:
            try:
                found = client.predict(image, boxes=boxes, points=points, visualize=picture)
            except ApiError as error:
                now = time.monotonic()
                return Exchange(sent, now, "answered", error.status, message=str(error))
        rles = [rle for rle in found.rles if isinstance(rle, dict)]
        return Exchange(sent, time.monotonic(), "answered", 200, rles=rles)

    return _timed(answer)


def _timed(answer: Callable[[float], Exchange]) -> Exchange:
    sent = time.monotonic()
    try:
        return answer(sent)
    except TimeoutError:
        return Exchange(sent, time.monotonic(), "hung", message=f"no answer in {TIMEOUT_S:g} s")
    except (OSError, http.client.HTTPException, ConnectionFailedError) as error:
        message = f"{type(error).__name__}: {error}"
        return Exchange(sent, time.monotonic(), "cut", message=message)


def _read(sent: float, response: http.client.HTTPResponse) -> Exchange:
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    rles: list[Rle] | None = None
    try:
        answer = orjson.loads(content)
        message = str(answer["errorMsg"])
        if "result" in answer:
            rles = [Rle(size=m["size"], counts=m["counts"]) for m in answer["result"]["masks"]]
    except (ValueError, TypeError, KeyError) as error:
        message = f"no envelope ({type(error).__name__}): {content[:80]!r}"
    return Exchange(sent, time.monotonic(), "answered", response.status, headers, rles, message)
