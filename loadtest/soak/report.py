"""What a soak found, as Markdown: a file of its own, or a section of a document."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from loadtest.soak.ledger import VERDICTS, Row
from loadtest.soak.processes import WARM_UP_S, WHOLE, growths
from loadtest.soak.promises import RECOVERY_S, broken_promises
from loadtest.soak.run import LIVE, LOWEST_IOU, Outcome
from loadtest.soak.trials import BUSY
from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.bench.results import quantile

BEGIN = "<!-- soak: written by `make soak` -->"
END = "<!-- end of soak -->"


def write_report(outcome: Outcome, file: Path) -> None:
    """Write the report, between the markers `BEGIN` and `END` if the file has them."""
    report = to_markdown(outcome)
    text = file.read_text("utf-8") if file.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        before, after = "# Soak\n\n", ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{before}{BEGIN}\n\n{report}\n{END}{after or chr(10)}", "utf-8")


def to_markdown(outcome: Outcome) -> str:
    """The report without a title."""
    return "\n".join(
        [
            *_summary(outcome),
            "",
            "**Traffic.**",
            "",
            *_traffic(outcome),
            "",
            *_masks_and_times(outcome),
            "",
            "**Faults.**",
            "",
            *_faults(outcome),
            "",
            "**Memory and file descriptors.**",
            "",
            *_usage(outcome),
            *_wrong(outcome),
            "",
        ]
    )


def _summary(outcome: Outcome) -> list[str]:
    plan, ledger = outcome.plan, outcome.ledger
    broken = broken_promises(outcome)
    machine = describe_machine()
    interrupted = ", interrupted" if outcome.interrupted else ""
    return [
        f"{datetime.date.today().isoformat()}, {outcome.seconds / 60:.1f} minutes{interrupted}, "
        f"{plan.callers} callers who pause for {plan.pause_s:g} s, a fault every "
        f"{plan.fault_every_s:g} s, seed {plan.seed}; "
        f"{machine['CPU']}, {machine['cores']} cores.",
        "",
        f"{ledger.sent} requests sent: {ledger.answered} answered, "
        f"{ledger.total('left')} left by their callers, "
        f"{ledger.total('cut by a kill')} cut by the kill of their gateway worker"
        + (f", {ledger.unfinished} unfinished when interrupted" if ledger.unfinished else "")
        + f". {ledger.total('wrong')} ended wrongly.",
        "",
        *(
            ["Promises that were broken:", "", *(f"- {_cell(line)}" for line in broken)]
            if broken
            else ["**Every promise was kept.**"]
        ),
    ]


def _traffic(outcome: Outcome) -> list[str]:
    rows = outcome.ledger.rows
    header = ("kind", "sent", "200", "4xx", "429, 503, 504", "other", "cut by a kill", "left")
    lines: list[tuple[str, ...]] = []
    for group in ("good", "bad", "hostile"):
        kinds = sorted(kind for kind, row in rows.items() if row.group == group)
        lines += [_traffic_row(f"{group}: {kind}", [rows[kind]]) for kind in kinds]
    lines.append(_traffic_row("**all**", list(rows.values())))
    return table((*header, "wrong"), lines)


def _traffic_row(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    def answers(is_it: Callable[[int], bool]) -> int:
        return sum(n for row in rows for status, n in row.statuses.items() if is_it(status))

    refused = answers(lambda status: 400 <= status < 500 and status not in BUSY)
    right, busy = answers(lambda status: status == 200), answers(BUSY.__contains__)
    other = answers(lambda _status: True) - right - refused - busy
    _, _, cut, left, wrong = (sum(row.verdicts[v] for row in rows) for v in VERDICTS)
    numbers = (sum(row.sent for row in rows), right, refused, busy, other, cut, left, wrong)
    return (name, *(str(number) if number else "" for number in numbers))


def _masks_and_times(outcome: Outcome) -> list[str]:
    ledger = outcome.ledger
    expected = ledger.expected
    masks = f"{expected.same_texts} masks had the text that the quiet service gave"
    if expected.other_texts:
        masks += (
            f", {expected.other_texts} another one (lowest IoU {expected.lowest_seen:.5f}; below "
            f"{LOWEST_IOU:g} is wrong)"
        )
    lines = [f"{masks}."]
    live = ledger.rows.get(LIVE)
    if live and live.seconds:
        lines.append(f"`{LIVE}` took {_times(live.seconds)}.")
    if ledger.refusal_seconds:
        lines.append(f"Refusals in bursts took {_times(ledger.refusal_seconds)}.")
    return [" ".join(lines)]


def _times(seconds: list[float]) -> str:
    p50, p99 = ((quantile(seconds, share) or 0.0) * 1e3 for share in (0.5, 0.99))
    return f"{p50:.0f} ms (median), {p99:.0f} ms (99th percentile), at most {max(seconds):.2f} s"


def _faults(outcome: Outcome) -> list[str]:
    if not outcome.injected:
        return ["None was injected."]
    rows = [
        (
            f"{injected.after_s / 60:.1f}",
            injected.fault,
            _cell(injected.what),
            "never" if injected.recovery_s is None else f"{injected.recovery_s:.1f}",
        )
        for injected in outcome.injected
    ]
    return [
        *table(("minute", "fault", "what", "whole again after, s"), rows),
        "",
        "Whole: `/health/ready` answers 200 and a request that needs every stage succeeds, counted "
        "from the kill, or from the end of a fault that lasts. The promise is "
        f"{RECOVERY_S:g} s.",
    ]


def _usage(outcome: Outcome) -> list[str]:
    found = growths(outcome.samples, outcome.plan.cycle_s)
    if not found:
        return [f"Too short to tell: the first {WARM_UP_S:g} s are for warming up."]
    rows = []
    for growth in sorted(found, key=lambda growth: (growth.kind != WHOLE, growth.kind)):
        scale = 1e-6 if growth.what == "memory" else 1.0
        numbers = (growth.first, growth.last, growth.highest, growth.allowed)
        cells = (f"{number * scale:.0f}" for number in numbers)
        what = "memory, MB" if growth.what == "memory" else "files"
        rows.append((growth.kind, what, *cells, "yes" if growth.is_flat else "**no**"))
    return [
        *table(("processes", "", "before", "at the end", "highest", "allowed", "flat"), rows),
        "",
        "Medians of the last round of all faults and of the one before (of a short soak, of the "
        f"last third and of the first, without {WARM_UP_S:g} s of warming up); memory is PSS, of "
        "`/dev/shm` its regions (as files) and their size, of what is kept of dead stages "
        "likewise, which is judged by how many these are.",
    ]


def _wrong(outcome: Outcome) -> Iterable[str]:
    if not outcome.ledger.wrong:
        return []
    rows = [
        (f"{wrong.after_s:.1f}", wrong.kind, wrong.fault, _cell(wrong.problem))
        for wrong in outcome.ledger.wrong
    ]
    header = ("second", "kind", "fault", "what came of it")
    return ["", "**Requests that ended wrongly (the first of them).**", "", *table(header, rows)]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]
