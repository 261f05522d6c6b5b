"""What the measurement of several Tritons calls a broken promise, and what it writes."""

from __future__ import annotations

from dataclasses import replace

from loadtest.cluster import Policy
from loadtest.scale_out_findings import (
    Addition,
    Death,
    Measurement,
    broken_promises,
    document,
)
from loadtest.soak.exchanges import Exchange

GOOD = Exchange(100.0, 101.0, "answered", 200)
LATE = Exchange(109.5, 110.5, "answered", 200)
REFUSED = Exchange(101.0, 102.0, "answered", 503)


def measurement(policy: Policy, hits: int, misses: int, *more: Exchange) -> Measurement:
    return Measurement(policy, 100.0, 10.0, [GOOD, GOOD, LATE, *more], [hits, 0], [misses, 0])


HASHED, RANDOM = measurement("hashed", 9, 1), measurement("random", 3, 7)
DEATH = Death([REFUSED], [GOOD], [GOOD], unready=0, looks=5)
ADDITION = Addition(3, 250, 0, [GOOD])


def test_a_good_run_breaks_nothing_and_a_request_in_flight_at_the_kill_may_fail() -> None:
    assert broken_promises([HASHED, RANDOM], [HASHED], DEATH, ADDITION) == []


def test_every_promise_can_be_broken() -> None:
    no_better = broken_promises([measurement("hashed", 3, 7), RANDOM], [], DEATH, ADDITION)
    bad = Exchange(101.0, 102.0, "cut")
    others = broken_promises(
        [replace(HASHED, exchanges=[REFUSED]), RANDOM],
        [],
        Death([], [bad], [], unready=2, looks=5),
        Addition(3, 250, 4, [REFUSED]),
    )

    assert no_better == ["hashing finds no more in the caches"]
    assert others == [
        "while measuring: 1 requests ended 503",
        "while a Triton was dead: 1 requests ended cut",
        "while a Triton was added: 1 requests ended 503",
        "with one Triton dead gateways were unready at 2 looks",
        "4 images moved between old Tritons",
    ]


def test_the_document_has_the_figures() -> None:
    text = document(["| CPU |"], "Two.", [HASHED, RANDOM], [HASHED], DEATH, ADDITION, ["oh"])

    # What ended after the measurement is no answer of its time.
    assert "| hashed | 0.900 | 0.20 | 1000 | 10 / 0 | 3 x 200 |" in text
    assert "0.90 against 0.30 found in a cache, and 1.0 times as many answers" in text
    assert "| under way at the kill | 1 | 1 x 503 | 1.0 |" in text
    assert "250 of 1000 images (0.250) moved" in text
    assert "- Broken: oh" in text
