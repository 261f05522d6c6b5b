"""Many requests at once: in order, bounded, and without one failure losing the others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from ovseg_client import (
    AsyncClient,
    BatchResult,
    Client,
    InvalidRequestError,
    PredictArguments,
)

from tests.client.canned import BOX, CannedServer, answer

Many = Callable[..., list[BatchResult]]


def many(address: str, items: Iterable[PredictArguments], **options: Any) -> list[BatchResult]:
    with Client(address) as client:
        return list(client.predict_many(items, **options))


def many_async(
    address: str, items: Iterable[PredictArguments], **options: Any
) -> list[BatchResult]:
    async def call() -> list[BatchResult]:
        async with AsyncClient(address) as client:
            return [result async for result in client.predict_many(items, **options)]

    return asyncio.run(call())


@pytest.fixture(params=[many, many_async], ids=["sync", "async"])
def predict_many(request: pytest.FixtureRequest) -> Many:
    chosen: Many = request.param
    return chosen


def items_with(*counts: int) -> list[PredictArguments]:
    return [{"image": b"file", "boxes": [BOX] * count} for count in counts]


def test_results_come_in_order_with_their_items(
    server: CannedServer, predict_many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(handler: Any, content: bytes) -> None:
        # The first request is answered last.
        if len(server.sent) < 8:
            time.sleep(0.2)
        handler.wfile.write(content)

    server.answer = answer(1)
    monkeypatch.setattr(server, "body", body)
    items = items_with(*range(1, 10))
    found = predict_many(server.url, iter(items), concurrency=3)

    assert [result.index for result in found] == list(range(9))
    assert [result.item for result in found] == items
    assert [len(result.get().rles) for result in found] == [1] * 9


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_run_than_are_allowed_and_no_fewer(
    server: CannedServer, predict_many: Many, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(handler: Any, content: bytes) -> None:
        time.sleep(0.05)
        handler.wfile.write(content)

    server.answer = answer(1)
    monkeypatch.setattr(server, "body", body)
    predict_many(server.url, items_with(*[1] * 12), concurrency=concurrency)

    assert server.most_running == concurrency
    assert len(server.sent) == 12


def test_one_that_fails_leaves_the_others_alone(server: CannedServer, predict_many: Many) -> None:
    server.answer = answer(1)
    server.answers = [(422, {"logId": "x", "errorCode": 422, "errorMsg": "no"})]
    items: list[PredictArguments] = [
        *items_with(1, 1),
        {"image": "no/such/file.jpg", "boxes": [BOX]},
        {"image": b"file", "boxes": [[1, 2]]},
        {"image": b"file", "box": [BOX]},  # type: ignore[typeddict-unknown-key]
        *items_with(1),
    ]
    found = predict_many(server.url, items, concurrency=1)

    assert [type(result.error) for result in found] == [
        InvalidRequestError,
        type(None),
        FileNotFoundError,
        ValueError,
        TypeError,
        type(None),
    ]
    assert [result.prediction is None for result in found] == [
        result.error is not None for result in found
    ]
    with pytest.raises(InvalidRequestError):
        found[0].get()
    assert len(found[5].get().rles) == 1


def test_progress_is_told_with_each_result(server: CannedServer, predict_many: Many) -> None:
    server.answer = answer(1)
    for items, total in ((items_with(1, 1, 1), 3), (iter(items_with(1, 1, 1)), None)):
        told: list[tuple[int, int | None]] = []
        predict_many(server.url, items, progress=lambda *numbers, told=told: told.append(numbers))
        assert told == [(1, total), (2, total), (3, total)]


def test_a_bar_shows_it(
    server: CannedServer, predict_many: Many, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = answer(1)
    predict_many(server.url, items_with(1, 1, 1), progress=True)

    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert shown.out == ""


def test_a_bar_needs_rich(predict_many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(ImportError, match=r"ovseg-client\[progress\]"):
        predict_many("http://127.0.0.1:1", [], progress=True)


def test_nothing_needs_no_server(predict_many: Many) -> None:
    assert predict_many("http://127.0.0.1:1", []) == []


def test_at_least_one_must_be_allowed(predict_many: Many) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        predict_many("http://127.0.0.1:1", [], concurrency=0)


def endless() -> Iterator[PredictArguments]:
    yield from ({"image": b"file", "boxes": [BOX]} for _ in itertools.count())


def test_who_stops_early_asks_for_little_more(server: CannedServer) -> None:
    server.answer = answer(1)
    with Client(server.url) as client:
        taken = list(itertools.islice(client.predict_many(endless(), concurrency=2), 3))
        time.sleep(0.3)
        asked = len(server.sent)
        time.sleep(0.3)

    assert len(taken) == 3
    assert 3 <= asked <= 3 + 2 * 2
    assert len(server.sent) == asked
    assert not [thread for thread in threading.enumerate() if "predict_many" in thread.name]


def test_so_does_who_stops_early_in_an_event_loop(server: CannedServer) -> None:
    server.answer = answer(1)

    async def call() -> int:
        async with AsyncClient(server.url) as client:
            results = client.predict_many(endless(), concurrency=2)
            async with contextlib.aclosing(results):
                async for result in results:
                    if result.index == 2:
                        break
            return len(asyncio.all_tasks())

    assert asyncio.run(call()) == 1
    assert 3 <= len(server.sent) <= 3 + 2 * 2


def test_cancelling_ends_what_runs_at_once(server: CannedServer) -> None:
    server.delay = threading.Event()

    async def call() -> int:
        async with AsyncClient(server.url) as client:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(
                    anext(aiter(client.predict_many(endless(), concurrency=2))), 0.3
                )
            return len(asyncio.all_tasks())

    begin = time.monotonic()
    assert asyncio.run(call()) == 1
    assert time.monotonic() - begin < 3
    assert len(server.sent) == 2


def test_ctrl_c_ends_it_at_once(server: CannedServer) -> None:
    server.delay = threading.Event()
    program = f"""
import itertools
from ovseg_client import Client

with Client({server.url!r}) as client:
    items = ({{"image": b"file", "boxes": [1, 2, 3, 4]}} for _ in itertools.count())
    for result in client.predict_many(items, concurrency=2):
        print("a result")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(server.sent) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert time.monotonic() - begin < 3  # The server would take five seconds.
    assert process.returncode != 0
    assert out == ""
    assert err.count("Traceback") == 1 and err.strip().endswith("KeyboardInterrupt")
    assert len(server.sent) == 2
