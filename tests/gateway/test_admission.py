"""Who is let in to wait for a turn with Triton, in what order, and who is refused."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from ovseg_gateway.admission import Admission, Place
from ovseg_gateway.errors import OverloadedError
from ovseg_gateway.metrics import Metrics

from ovseg.settings import Settings

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


def test_a_few_who_ask_again_at_once_when_refused_are_no_overload() -> None:
    async def scenario() -> None:
        queue = admission(max_running=1, max_waiting=4)
        queue._learn("known", 0.5)
        running = asyncio.create_task(run_for(queue, LONG_S))
        await asyncio.sleep(0.01)
        for _ in range(100):
            queue.arrive(connections=5)
        assert not queue.is_overloaded
        with pytest.raises(OverloadedError):
            queue.arrive(connections=6)
        assert queue.is_overloaded
        running.cancel()

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
