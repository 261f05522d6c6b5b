"""A benchmark's result as a Markdown document: only what was measured, nothing from memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ovseg.bench.results import BenchmarkResult, Latency, Throughput, quantile

_NOTHING = "–"
_INTRODUCTION = """\
Written by `ovseg bench peer` (`make bench`). All servers run at the same time on the same machine
with the same weights; in each round each is asked once, one after another. Times are medians with
their interquartile range, seen by the client over loopback, JSON and base64 included. "×" is how
many times faster the first column is, by medians. Every request asks about a photo of 1000 x 750
pixels; a new image is a file that no server has seen."""
_SEEDED = """\
Weights from a seed draw masks like noise, whose pixels lie near the threshold everywhere, so that
float32 in another order flips some of them. Fidelity is judged on trained weights."""


def to_markdown(result: BenchmarkResult, plots: Sequence[str] = ()) -> str:
    """The document; `plots` are addresses of pictures relative to it."""
    lines = [f"# {result.title}, {result.date[:10]}", "", _INTRODUCTION, ""]
    lines += table(("", ""), result.machine.items())
    lines += [
        "",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in result.versions.items()) + ".",
        "",
    ]
    lines += ["## Servers", "", *_servers(result), "", "## Latency, one client, ms", ""]
    lines += [*_latency(result), "", *_further_prompts(result)]
    lines += ["## Fidelity: IoU with our masks", "", *_fidelity(result), ""]
    if result.seeded:
        lines += [_SEEDED, ""]
    if result.throughput:
        lines += ["## Throughput, one box a request", "", *_throughput(result), ""]
    lines += [line for plot in plots for line in (f"![{plot}]({plot})", "")]
    if result.notes:
        lines += ["## Not measured", "", *(f"- {_one_line(note)}" for note in result.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def _servers(result: BenchmarkResult) -> list[str]:
    return table(
        ("server", "how", "first answer after, s", "peak memory (PSS), MB"),
        (
            (
                target.name,
                target.description,
                f"{target.start_seconds:.1f}",
                _number(target.peak_memory_bytes, 1e-6, 0),
            )
            for target in result.targets
        ),
    )


def _latency(result: BenchmarkResult) -> list[str]:
    names = list(dict.fromkeys(latency.target for latency in result.latencies))
    found = {(latency.scenario, latency.target): latency for latency in result.latencies}
    rows = []
    for scenario in dict.fromkeys(latency.scenario for latency in result.latencies):
        first = found[scenario, names[0]]
        cells = [
            _spread(found[scenario, name]) + ("" if name == names[0] else _ratio(first, other))
            for name in names
            for other in (found[scenario, name],)
        ]
        rows.append((scenario, *cells, str(len(first.milliseconds))))
    return table(("request", *names, "samples"), rows)


def _further_prompts(result: BenchmarkResult) -> list[str]:
    """What each further box costs: no encoder is in it, whoever has one."""
    medians = {(item.scenario, item.target): item.median for item in result.latencies}
    names = list(dict.fromkeys(latency.target for latency in result.latencies))
    few, many = "next prompt, 16 boxes", "next prompt, 64 boxes"
    cells = []
    for name in names:
        low, high = medians.get((few, name)), medians.get((many, name))
        cells.append(_NOTHING if low is None or high is None else f"{(high - low) / 48:.2f}")
    rows = [("each further box, ms (from 16 to 64)", *cells)]
    return [*table(("", *names), rows), ""] if any(c != _NOTHING for c in cells) else []


def _fidelity(result: BenchmarkResult) -> list[str]:
    return table(
        ("request", "server", "masks", "mean", "lowest"),
        (
            (
                item.scenario,
                item.target,
                str(len(item.ious)),
                f"{sum(item.ious) / len(item.ious):.5f}",
                f"{min(item.ious):.5f}",
            )
            for item in result.fidelity
            if item.ious
        ),
    )


def _throughput(result: BenchmarkResult) -> list[str]:
    def row(item: Throughput) -> tuple[str, ...]:
        quantiles = (quantile(item.milliseconds, share) for share in (0.5, 0.95, 0.99))
        return (
            item.mix,
            str(item.clients),
            item.target,
            f"{item.per_second:.2f}",
            *(_number(value, 1, 0) for value in quantiles),
            str(item.failed),
            str(item.unanswered),
        )

    header = ("mix", "clients", "server", "answers/s", "p50, ms", "p95", "p99", "failed")
    return [
        *table((*header, "unanswered"), map(row, result.throughput)),
        "",
        'Where requests were "unanswered" when the time was up, the true percentiles are higher.',
    ]


def _spread(latency: Latency) -> str:
    if latency.median is None:
        return f"failed: {_one_line(latency.failures[0])[:60]}" if latency.failures else _NOTHING
    low, high = (quantile(latency.milliseconds, share) for share in (0.25, 0.75))
    failed = f", {len(latency.failures)} failed" if latency.failures else ""
    return f"{latency.median:.1f} ({low:.1f}–{high:.1f}){failed}"


def _ratio(ours: Latency, theirs: Latency) -> str:
    if not ours.median or not theirs.median:
        return ""
    return f" **{theirs.median / ours.median:.1f}×**"


def _number(value: float | None, scale: float, digits: int) -> str:
    return _NOTHING if value is None else f"{value * scale:,.{digits}f}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
