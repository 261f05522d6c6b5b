"""What `loadtest/overload.py` found, as a document, and against what is promised."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from loadtest.overload_watch import Watch
from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.bench.open_loop import Exchange
from ovseg.bench.verdict import broken_lines

WORKLOADS = {
    "known": "the next prompt on a known image",
    "new": "images that the server has not seen",
    "mixed": "four of five about the known image, one about a new one",
    "large": "the next prompt on a known image of 8 MB (11 MB of JSON), at most a gigabit of them",
}
PROMISED_RATIO, PROMISED_REFUSAL_S, PROMISED_LIVE_S, PROMISED_GROWTH = 2.0, 0.05, 0.1, 1.2
SETTLING_S = 5.0
"""A burst is let in before the service knows that more will come; shown apart."""
WITHOUT_PROMISED_TIMES = ("large",)
"""Merely taking such bodies in, and throwing most of them away, keeps the CPUs busy."""


def spread(seconds: list[float]) -> str:
    """Median, 99th percentile and maximum in milliseconds."""
    return ", ".join(
        f"{value * 1e3:.1f}" for value in (statistics.median(seconds), p99(seconds), max(seconds))
    )


def p99(seconds: list[float]) -> float:
    """The 99th percentile; of few values the largest."""
    return sorted(seconds)[int(0.99 * len(seconds))]


@dataclass(frozen=True)
class Finding:
    """One workload."""

    workload: str
    unloaded: list[float]
    rate: float
    """Requests a second that the service can carry."""
    exchanges: list[Exchange]
    watch: Watch
    before: dict[str, float]

    def seconds(self, status: int, after_s: float = 0.0) -> list[float]:
        """Latencies of answers with this status."""
        return [e.seconds for e in self.exchanges if e.status == status and e.sent_at >= after_s]

    def facts(self) -> dict[str, str]:
        """Lines of the report."""
        accepted, settled, refused = (
            self.seconds(200),
            self.seconds(200, SETTLING_S),
            self.seconds(503),
        )
        statuses = Counter(str(e.status or "lost") for e in self.exchanges)
        run_s = max(e.sent_at for e in self.exchanges)
        return {
            "alone, ms (median, p99)": f"{statistics.median(self.unloaded) * 1e3:.0f}, "
            f"{p99(self.unloaded) * 1e3:.0f} ({len(self.unloaded)} requests)",
            "can carry, requests/s": f"{self.rate:.1f}",
            "sent, requests/s": f"{len(self.exchanges) / run_s:.0f} for {run_s:.0f} s",
            "answers": ", ".join(f"{status}: {count}" for status, count in statuses.items()),
            "answered with masks, requests/s": f"{len(accepted) / run_s:.1f}",
            "these, ms (median, p99)": f"{statistics.median(accepted) * 1e3:.0f}, "
            f"{p99(settled) * 1e3:.0f} "
            f"(with the first {SETTLING_S:.0f} s: {p99(accepted) * 1e3:.0f})",
            "p99 / p99 alone": f"{self.ratio():.2f}",
            "refusals, ms (median, p99, max)": spread(refused),
            "/health/live, ms (median, p99, max)": spread(self.watch.live_s),
            "memory of the gateway, MB": self.growth("gateway"),
            "memory of Triton, MB": self.growth("Triton"),
        }

    def growth(self, part: str) -> str:
        """Resident MB before, in the halves of the run, and the most."""
        seen = [parts[part] for parts in self.watch.rss]
        halves = seen[: len(seen) // 2], seen[len(seen) // 2 :]
        first, second = (f"{statistics.median(half):.0f}" for half in halves)
        return f"{self.before[part]:.0f} before, {first}, then {second}, at most {max(seen):.0f}"

    def ratio(self) -> float:
        """How much slower the slowest are than without load."""
        return p99(self.seconds(200, SETTLING_S)) / p99(self.unloaded)

    def broken_promises(self) -> list[str]:
        """What does not hold."""
        strange = [e for e in self.exchanges if e.status not in (200, 503)]
        no_hint = [e for e in self.exchanges if e.status == 503 and not e.retry_after]
        half = len(self.watch.rss) // 2
        totals = [sum(parts.values()) for parts in self.watch.rss]
        checks = {
            f"{len(strange)} requests without a proper answer: {strange[:3]}": not strange,
            f"{len(no_hint)} refusals without Retry-After": not no_hint,
            "memory grows": max(totals[half:]) <= PROMISED_GROWTH * max(totals[:half]),
        }
        fast = {
            f"p99 is {self.ratio():.2f} times that without load": self.ratio() <= PROMISED_RATIO,
            "slow refusals": p99(self.seconds(503)) <= PROMISED_REFUSAL_S,
            "/health/live was slow": max(self.watch.live_s) <= PROMISED_LIVE_S,
        }
        if self.workload not in WITHOUT_PROMISED_TIMES:
            checks |= fast
        return [f"{self.workload}: {text}" for text, holds in checks.items() if not holds]


def markdown(findings: list[Finding], times: float, broken: list[str]) -> str:
    """The report."""
    names = [finding.workload for finding in findings]
    facts = [finding.facts() for finding in findings]
    rows = [(name, *(fact[name] for fact in facts)) for name in facts[0]]
    lines = [f"# At {times:g} times the load that the service can carry", ""]
    lines += ["Written by `loadtest/overload.py`, which says how it is measured.", ""]
    lines += table(("", ""), describe_machine().items())
    lines += ["", *table(("", *names), rows), ""]
    lines += [
        f"- **{name}**: {WORKLOADS[name]}"
        + ("; no times are promised" if name in WITHOUT_PROMISED_TIMES else "")
        for name in names
    ]
    return "\n".join([*lines, *broken_lines(broken)])
