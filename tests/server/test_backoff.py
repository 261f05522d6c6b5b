"""How long the supervisor waits before it starts something again, and when it stops trying."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ovseg.server import child_process
from ovseg.server.backoff import Backoff, RestartLimitError
from ovseg.server.child_process import how_it_ended
from ovseg.settings import Settings

SETTINGS = Settings(
    restart_backoff_s=1.0, restart_backoff_limit_s=10.0, restart_limit=3, restart_window_s=100.0
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backoff(clock: Clock) -> Backoff:
    return Backoff(SETTINGS, clock)


def test_the_first_crash_costs_no_pause(backoff: Backoff) -> None:
    assert backoff.after_crash() == 0.0


def test_pauses_double_up_to_a_limit_and_are_half_random(clock: Clock) -> None:
    series = []
    for _ in range(200):
        backoff = Backoff(SETTINGS, clock)
        series.append([backoff.after_crash() for _ in range(8)])
    for pauses, longest in zip(zip(*series, strict=True), (0, 1, 2, 4, 8, 10, 10, 10), strict=True):
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert longest == 0 or max(pauses) - min(pauses) > longest / 4


def test_many_crashes_do_not_overflow(backoff: Backoff) -> None:
    pauses = [backoff.after_crash() for _ in range(5000)]

    assert max(pauses) <= 10.0


def test_what_has_lived_for_a_while_starts_without_a_pause(backoff: Backoff, clock: Clock) -> None:
    for _ in range(5):
        backoff.after_crash()
        clock.now += 1.0
    clock.now += 31.0

    assert backoff.after_crash() == 0.0


def test_crashes_alone_are_never_given_up(backoff: Backoff) -> None:
    assert all(backoff.after_crash() <= 10.0 for _ in range(100))


def test_failed_starts_pause_longer_each_time_and_are_given_up_with_their_cause(
    clock: Clock,
) -> None:
    settings = SETTINGS.model_copy(update={"restart_limit": 6})
    backoff = Backoff(settings, clock)
    pauses = []
    for _ in range(5):
        pauses.append(backoff.after_failed_start("no such file"))
        clock.now += 5.0
    with pytest.raises(RestartLimitError) as caught:
        backoff.after_failed_start("no such file")

    assert all(before <= after for before, after in pairwise(pauses))
    assert str(caught.value) == "gave up after 6 failed starts within 100 s: no such file"


def test_failed_starts_of_long_ago_do_not_count(backoff: Backoff, clock: Clock) -> None:
    for _ in range(20):
        backoff.after_failed_start("no such file")
        clock.now += 60.0


def test_a_process_that_the_kernel_killed_for_memory_is_told_from_one_that_somebody_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_process, "oom_kills", lambda: 4)

    assert how_it_ended(-9, oom_kills_before=3) == "was killed by SIGKILL (out of memory)"
    assert how_it_ended(-9, oom_kills_before=4) == "was killed by SIGKILL"
    assert how_it_ended(-11, oom_kills_before=3) == "was killed by SIGSEGV"
    assert how_it_ended(3) == "ended with exit code 3"
