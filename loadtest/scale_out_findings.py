"""What `loadtest.scale_out` found, as rows, as a document, and against what is promised."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from loadtest.cluster import Policy
from loadtest.soak.exchanges import Exchange
from loadtest.steady_load import summary
from ovseg.bench.markdown import table
from ovseg.bench.verdict import broken_lines

KEYS = 1000
"""Images whose replicas are looked up; they need not exist."""


@dataclass(frozen=True)
class Measurement:
    """One policy for a while."""

    policy: Policy
    started: float
    seconds: float
    exchanges: list[Exchange]
    hits: list[int]
    """Of each Triton."""
    misses: list[int]

    @property
    def hit_rate(self) -> float:
        """Share of embeddings that were found in a cache."""
        return sum(self.hits) / max(sum(self.hits) + sum(self.misses), 1)

    @property
    def answers_per_s(self) -> float:
        """Requests that were answered with masks in that time."""
        end = self.started + self.seconds
        return sum(e.status == 200 and e.ended <= end for e in self.exchanges) / self.seconds

    @property
    def loads(self) -> list[int]:
        """Requests of each Triton."""
        return [hits + misses for hits, misses in zip(self.hits, self.misses, strict=True)]

    def row(self) -> tuple[str, ...]:
        """Of the table."""
        return (
            self.policy,
            f"{self.hit_rate:.3f}",
            f"{self.answers_per_s:.2f}",
            f"{1000 * statistics.median(e.seconds for e in self.exchanges):.0f}",
            " / ".join(map(str, self.loads)),
            _ends(self.exchanges),
        )


HEADER = ("balancing", "hit rate", "answers/s", "median, ms", "requests of each Triton", "ended")


@dataclass(frozen=True)
class Death:
    """What came of the kill of one Triton."""

    in_flight: list[Exchange]
    """Requests that were under way when it was killed, wherever."""
    later: list[Exchange]
    """Those that came while it was dead."""
    after: list[Exchange]
    """Those that came when it was repaired."""
    unready: int
    """Looks at a gateway's `/health/ready` that were not 200, of `looks`."""
    looks: int

    def lines(self) -> list[str]:
        """Of the report."""
        rows = [
            ("under way at the kill", self.in_flight),
            ("sent while it was dead", self.later),
            ("sent after its repair", self.after),
        ]
        cells = (
            (name, str(len(found)), _ends(found), f"{max(e.seconds for e in found):.1f}")
            for name, found in rows
            if found
        )
        ready = (
            f"`/health/ready` of the gateways: {self.unready} of {self.looks} looks were not 200."
        )
        return [*table(("requests", "number", "ended", "slowest, s"), cells), "", ready]


@dataclass(frozen=True)
class Addition:
    """What came of one more Triton."""

    before: int
    """Tritons until then."""
    moved: int
    """Of `KEYS` images."""
    moved_elsewhere: int
    """Of these, to another than the new one."""
    exchanges: list[Exchange]

    def lines(self) -> list[str]:
        """Of the report."""
        share, ideal = self.moved / KEYS, 1 / (self.before + 1)
        return [
            f"From {self.before} to {self.before + 1} Tritons, {self.moved} of {KEYS} images "
            f"({share:.3f}) moved, {self.moved_elsewhere} of them to another than the new one; "
            f"with a fresh, even split at least {ideal:.3f} must. Requests meanwhile: "
            f"{_ends(self.exchanges)}.",
        ]


def broken_promises(
    measured: list[Measurement], hot: list[Measurement], death: Death, addition: Addition
) -> list[str]:
    """What does not hold, a line each."""
    rates = {
        policy: statistics.mean(m.hit_rate for m in measured if m.policy == policy)
        for policy in ("hashed", "random")
    }
    found = [] if rates["hashed"] > rates["random"] else ["hashing finds no more in the caches"]
    others = [e for m in (*measured, *hot) for e in m.exchanges]
    for name, exchanges in (
        ("measuring", others),
        ("a Triton was dead", [*death.later, *death.after]),
        ("a Triton was added", addition.exchanges),
    ):
        found += [
            f"while {name}: {n} requests ended {end}"
            for end, n in summary(exchanges).items()
            if end != "200"
        ]
    if death.unready:
        found.append(f"with one Triton dead gateways were unready at {death.unready} looks")
    if addition.moved_elsewhere:
        found.append(f"{addition.moved_elsewhere} images moved between old Tritons")
    return found


def document(
    machine: list[str],
    setting: str,
    measured: list[Measurement],
    hot: list[Measurement],
    death: Death,
    addition: Addition,
    broken: list[str],
) -> str:
    """The report.

    Args:
        machine: a table.
        setting: what ran, in a sentence.
        measured: hashed and random balancing in turn.
        hot: one photo, with the bound and without.
        death: of one Triton.
        addition: of one Triton.
        broken: from `broken_promises`.
    """
    lines = ["# Several Tritons behind nginx", ""]
    lines += ["Written by `python -m loadtest.scale_out`, which says how it is measured.", ""]
    lines += [setting, "Everything shares the cores below: a third Triton adds memory here, and no"]
    lines += ["computing. Compare the rows with each other only.", "", *machine, ""]
    lines += ["## Hashed against random", "", *table(HEADER, (m.row() for m in measured)), ""]
    lines += [_comparison(measured), ""]
    lines += ["## One photo that everybody asks about", ""]
    lines += [*table(HEADER, (m.row() for m in hot)), ""]
    lines += ["## One Triton killed", "", *death.lines(), ""]
    lines += ["## One Triton added", "", *addition.lines()]
    return "\n".join([*lines, *broken_lines(broken)])


def _comparison(measured: list[Measurement]) -> str:
    (hashed, hashed_s), (random, random_s) = (
        (
            statistics.mean(m.hit_rate for m in measured if m.policy == policy),
            statistics.mean(m.answers_per_s for m in measured if m.policy == policy),
        )
        for policy in ("hashed", "random")
    )
    ratio = (
        f"{hashed_s / random_s:.1f} times as many answers" if random_s else "no answers at random"
    )
    return f"On average {hashed:.2f} against {random:.2f} found in a cache, and {ratio}."


def _ends(exchanges: list[Exchange]) -> str:
    counts: Counter[str] = summary(exchanges)
    return ", ".join(f"{n} x {end}" for end, n in sorted(counts.items())) or "none"
