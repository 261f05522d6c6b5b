"""Bodies with a `Content-Encoding`: inflated up to the limit, refused otherwise."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

GOOD = json.dumps(body(logId="mine")).encode()
LIMIT = 1_000_000


def post(http: httpx.Client, content: bytes, encoding: str, **headers: Any) -> httpx.Response:
    fields = {"Content-Type": "application/json", "Content-Encoding": encoding, **headers}
    return http.post(PATH, content=content, headers=fields)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(GOOD)),
        ("GZip", gzip.compress(GOOD)),
        ("x-gzip", gzip.compress(GOOD)),
        ("deflate", zlib.compress(GOOD)),
        ("identity", GOOD),
        ("identity, gzip", gzip.compress(GOOD)),
        ("", GOOD),
    ],
)
def test_compressed_bodies_are_read(http: httpx.Client, encoding: str, content: bytes) -> None:
    response = post(http, content, encoding)

    assert response.status_code == 200, response.text
    assert response.json()["logId"] == "mine"


def test_a_compressed_body_may_come_in_small_pieces(http: httpx.Client) -> None:
    whole = json.dumps(body(further=os.urandom(500_000).hex(), logId="mine")).encode()
    packed = gzip.compress(whole)
    pieces = [packed[i : i + 10_007] for i in range(0, len(packed), 10_007)]
    response = http.post(
        PATH,
        content=iter(pieces),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )

    assert (response.status_code, response.json()["logId"]) == (200, "mine")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
def test_other_encodings_are_refused_naming_the_header(
    http: httpx.Client, triton: FakeTriton, encoding: str
) -> None:
    response = post(http, gzip.compress(GOOD), encoding)

    assert response.status_code == 415
    assert response.json()["errorCode"] == 415
    assert "Content-Encoding should be one of gzip, deflate" in response.json()["errorMsg"]
    assert response.headers["accept-encoding"] == "gzip, deflate"
    assert triton.calls == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD,
        gzip.compress(GOOD)[:-1],
        gzip.compress(GOOD)[:20],
        gzip.compress(GOOD) + b"x",
        gzip.compress(GOOD) + gzip.compress(GOOD),
        gzip.compress(GOOD)[:-8] + bytes(8),
    ],
)
def test_what_is_not_one_whole_gzip_stream_is_refused(
    http: httpx.Client, triton: FakeTriton, content: bytes
) -> None:
    response = post(http, content, "gzip")

    assert response.status_code == 400
    assert "Content-Encoding" in response.json()["errorMsg"]
    assert triton.calls == []


def test_the_limit_counts_inflated_bytes(start_gateway: StartGateway) -> None:
    with start_gateway(max_body_bytes=LIMIT) as http:
        at_the_limit = post(http, gzip.compress(GOOD.ljust(LIMIT)), "gzip")
        beyond = post(http, gzip.compress(GOOD.ljust(LIMIT + 1)), "gzip")

    assert at_the_limit.status_code == 200
    assert beyond.status_code == 413
    assert str(LIMIT) in beyond.json()["errorMsg"]


def test_a_bomb_is_refused_before_it_is_inflated(start_gateway: StartGateway) -> None:
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    assert len(bomb) < LIMIT  # 200 MB when inflated
    before = psutil.Process().memory_info().rss
    with start_gateway(max_body_bytes=LIMIT) as http:
        response = post(http, bomb, "deflate")
        after = psutil.Process().memory_info().rss

    assert response.status_code == 413
    assert after - before < 100_000_000


def test_compressed_bytes_count_too(start_gateway: StartGateway) -> None:
    # Empty blocks inflate to nothing, for ever.
    packer = zlib.compressobj()
    empty = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    empty += b"\0\0\0\xff\xff" * (LIMIT // 5)
    with start_gateway(max_body_bytes=LIMIT) as http:
        response = post(http, empty, "deflate")

    assert response.status_code == 413


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=5000, max_examples=50
)
@given(
    cut=st.integers(0, 200),
    inserted=st.binary(max_size=4),
    encoding=st.sampled_from(["gzip", "br"]),
)
def test_no_damaged_stream_fails_the_gateway(
    http: httpx.Client, cut: int, inserted: bytes, encoding: str
) -> None:
    packed = gzip.compress(GOOD)
    response = post(http, packed[:cut] + inserted + packed[cut:], encoding)

    assert response.status_code in (200, 400, 413, 415, 422)
