"""Which promises a soak broke, each in one line."""

from __future__ import annotations

from collections import Counter

from loadtest.soak.processes import growths
from loadtest.soak.run import LIVE, Outcome
from ovseg.bench.results import quantile

RECOVERY_S = 10.0
LIVE_S = 0.1
"""99 of 100 answers of `/health/live` come within it."""


def broken_promises(outcome: Outcome) -> list[str]:
    """What went wrong, the worst first; empty if every promise was kept."""
    return [
        *_wrong_answers(outcome),
        *_lost_requests(outcome),
        *_faults(outcome),
        *_growth(outcome),
        *_end(outcome),
    ]


def _wrong_answers(outcome: Outcome) -> list[str]:
    ledger = outcome.ledger
    total = ledger.total("wrong")
    if not total:
        return []
    first = ledger.wrong[0]
    kinds = Counter(wrong.kind for wrong in ledger.wrong)
    during = f" during {first.fault}" if first.fault else ""
    return [
        f"{total} of {ledger.sent} requests ended wrongly ({', '.join(kinds)}), the first after "
        f"{first.after_s:.0f} s{during}: {first.kind}: {first.problem}"
    ]


def _lost_requests(outcome: Outcome) -> list[str]:
    ledger = outcome.ledger
    verdicts = sum(row.verdicts.total() for row in ledger.rows.values())
    if ledger.sent == verdicts:
        return []
    return [f"{ledger.sent} requests were sent, but {verdicts} ended"]


def _faults(outcome: Outcome) -> list[str]:
    found = []
    for injected in outcome.injected:
        if injected.recovery_s is None:
            found.append(f"{injected.fault} ({injected.what}): not whole again within a minute")
        elif injected.recovery_s > RECOVERY_S:
            found.append(
                f"{injected.fault} ({injected.what}): whole again only after "
                f"{injected.recovery_s:.1f} s, not within {RECOVERY_S:g} s"
            )
    return found


def _growth(outcome: Outcome) -> list[str]:
    return [
        f"{growth.what} of {growth.kind} grew from {growth.first:,.0f} to {growth.last:,.0f}, "
        f"more than the {growth.allowed:,.0f} that are allowed"
        for growth in growths(outcome.samples, outcome.plan.cycle_s)
        if not growth.is_flat
    ]


def _end(outcome: Outcome) -> list[str]:
    if outcome.service_ended:
        return [f"the service ended by itself with exit code {outcome.exit_code}"]
    found = []
    live = outcome.ledger.rows.get(LIVE)
    if live and live.seconds and (p99 := quantile(live.seconds, 0.99) or 0.0) > LIVE_S:
        found.append(f"{LIVE} took {p99 * 1e3:.0f} ms (99th percentile)")
    if outcome.exit_code != 0:
        found.append(f"told to stop, the service ended with exit code {outcome.exit_code}")
    if outcome.left_behind:
        found.append(f"the service left behind {', '.join(outcome.left_behind)}")
    return found
