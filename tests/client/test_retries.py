"""Requests are sent again only where that is safe and may help, and a call ends in its time."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest
from ovseg_client import (
    ApiError,
    ConnectionFailedError,
    OvsegError,
    RequestTimeoutError,
    UnavailableError,
)
from ovseg_client.rest_messages import parse_retry_after
from ovseg_client.retrying import Deadline, with_retries

from tests.client.canned import Ask, CannedServer, answer


def refusal(status: int) -> dict[str, Any]:
    return {"logId": "theirs", "errorCode": status, "errorMsg": "no"}


@pytest.mark.parametrize("status", [503, 429])
def test_who_is_told_to_come_again_does(server: CannedServer, ask: Ask, status: int) -> None:
    server.headers = {"Retry-After": "0"}
    server.answers = [(status, refusal(status))] * 2
    server.answer = answer(1)

    assert len(ask(server.url).rles) == 1
    assert len(server.sent) == 3
    assert server.sent[0] == server.sent[1] == server.sent[2]


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 422, 500, 502, 504])
def test_other_refusals_are_final(server: CannedServer, ask: Ask, status: int) -> None:
    server.headers = {"Retry-After": "0"}
    server.status, server.answer = status, refusal(status)
    with pytest.raises(ApiError) as caught:
        ask(server.url)

    assert caught.value.status == status
    assert len(server.sent) == 1


def test_so_is_a_busy_service_that_names_no_time(server: CannedServer, ask: Ask) -> None:
    server.status, server.answer = 503, refusal(503)
    with pytest.raises(UnavailableError):
        ask(server.url)

    assert len(server.sent) == 1


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_retries_are_bounded(server: CannedServer, ask: Ask, retries: int) -> None:
    server.headers = {"Retry-After": "0"}
    server.status, server.answer = 503, refusal(503)
    with pytest.raises(UnavailableError) as caught:
        ask(server.url, retries=retries)

    assert len(server.sent) == 1 + retries
    assert caught.value.retry_after_s == 0


def test_a_connection_that_ends_without_an_answer_is_made_again(
    server: CannedServer, ask: Ask
) -> None:
    server.hang_ups = 2
    server.answer = answer(1)

    assert len(ask(server.url).rles) == 1
    assert len(server.sent) == len(server.connections) == 3

    server.hang_ups = 1
    with pytest.raises(ConnectionFailedError, match=server.url):
        ask(server.url, retries=0)


def test_an_answer_that_breaks_off_is_not_asked_for_again(server: CannedServer, ask: Ask) -> None:
    server.cuts_answers = True
    server.answer = answer(1)
    with pytest.raises(ConnectionFailedError):
        ask(server.url)

    assert len(server.sent) == 1


def test_nobody_waits_longer_than_the_call_may_take(server: CannedServer, ask: Ask) -> None:
    server.headers = {"Retry-After": "6"}
    server.status, server.answer = 503, refusal(503)
    begin = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        ask(server.url, timeout=5)

    assert time.monotonic() - begin < 4
    assert caught.value.retry_after_s == 6
    assert len(server.sent) == 1


def test_retries_end_with_the_call(server: CannedServer, ask: Ask) -> None:
    server.headers = {"Retry-After": "0"}
    server.status, server.answer = 503, refusal(503)
    begin = time.monotonic()
    with pytest.raises(UnavailableError):
        ask(server.url, timeout=1, retries=1000)

    assert 0.3 < time.monotonic() - begin < 3


def test_an_answer_in_drops_is_a_timeout(server: CannedServer, ask: Ask) -> None:
    server.pause_s = 0.05  # Ten seconds for the whole of it.
    server.answer = answer(1)
    begin = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        ask(server.url, timeout=0.4)

    assert 0.3 < time.monotonic() - begin < 3
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"retries": -1}]
)
def test_times_and_numbers_out_of_range_are_refused(ask: Ask, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ask("http://localhost:1", **options)


def waits(error: OvsegError, retries: int, timeout_s: float = 1000.0) -> list[float]:
    """How long it waits before each retry, when all attempts fail."""
    waited: list[float] = []

    async def attempt() -> None:
        raise error

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with pytest.raises(type(error)):
        asyncio.run(with_retries(attempt, retries, Deadline.after(timeout_s), sleep))
    return waited


def test_waits_are_what_the_service_says_and_a_little_more() -> None:
    many = [waits(UnavailableError(503, "", retry_after_s=5), 2) for _ in range(30)]

    assert all(5 <= wait <= 7.5 for pair in many for wait in pair)
    assert max(map(max, many)) - min(map(min, many)) > 0.5  # Not everyone at the same time.


def test_waits_grow_where_the_service_says_nothing() -> None:
    found = waits(ConnectionFailedError("", retry_after_s=0), 5)

    assert len(found) == 5
    for tried, wait in enumerate(found):
        assert 0.1 * 2**tried <= wait <= 0.15 * 2**tried


def test_the_header_is_seconds_or_a_date() -> None:
    assert parse_retry_after("3") == 3
    in_a_minute = parse_retry_after(formatdate(time.time() + 60, usegmt=True))
    assert in_a_minute is not None and 50 < in_a_minute <= 60
    assert parse_retry_after(formatdate(0, usegmt=True)) == 0
    assert parse_retry_after("") is None
    assert parse_retry_after("soon") is None
    assert parse_retry_after("-3") is None
