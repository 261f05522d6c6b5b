"""Pictures of a benchmark's result. Needs matplotlib (the optional part `bench`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovseg.bench.results import BenchmarkResult, quantile


def write_plots(result: BenchmarkResult, folder: Path, stem: str) -> list[str]:
    """Write latency and, if it was measured, throughput as SVG; returns the files' names.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib  # type: ignore[import-not-found, unused-ignore]

    matplotlib.use("svg")
    names = []
    for kind, draw in (("latency", _draw_latency), ("throughput", _draw_throughput)):
        if figure := draw(result):
            name = f"{stem}-{kind}.svg"
            figure.savefig(folder / name, bbox_inches="tight", metadata={"Date": None})
            names.append(name)
    return names


def _draw_latency(result: BenchmarkResult) -> Any:
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    scenarios = list(dict.fromkeys(item.scenario for item in result.latencies))
    targets = list(dict.fromkeys(item.target for item in result.latencies))
    figure = Figure(figsize=(9, 0.7 * len(scenarios) + 1.5))
    axes = figure.subplots()
    height = 0.8 / len(targets)
    for number, target in enumerate(targets):
        items = [item for item in result.latencies if item.target == target and item.milliseconds]
        axes.barh(
            [scenarios.index(item.scenario) + number * height for item in items],
            [item.median for item in items],
            height,
            label=target,
        )
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(scenarios))], scenarios)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("median latency, ms (logarithmic)")
    axes.set_title(f"{result.title}: one client")
    axes.legend()
    return figure


def _draw_throughput(result: BenchmarkResult) -> Any:
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    if not result.throughput:
        return None
    mixes = list(dict.fromkeys(item.mix for item in result.throughput))
    figure = Figure(figsize=(4 * len(mixes), 6))
    grid = figure.subplots(2, len(mixes), squeeze=False, sharex=True)
    for column, mix in enumerate(mixes):
        rate, delay = grid[0][column], grid[1][column]
        for target in dict.fromkeys(item.target for item in result.throughput):
            items = [i for i in result.throughput if (i.mix, i.target) == (mix, target)]
            clients = [item.clients for item in items]
            rate.plot(clients, [item.per_second for item in items], "o-", label=target)
            answered = [item for item in items if item.milliseconds]
            delay.plot(
                [item.clients for item in answered],
                [quantile(item.milliseconds, 0.95) for item in answered],
                "o-",
            )
        rate.set_title(f"{result.title}: {mix}")
        for axes in (rate, delay):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
        delay.set_xlabel("clients")
    grid[0][0].set_ylabel("answers a second")
    grid[1][0].set_ylabel("p95 latency, ms")
    grid[0][0].legend()
    return figure
