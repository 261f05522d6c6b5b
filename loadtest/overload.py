"""What happens at ten times the load that the service can carry.

    python loadtest/overload.py                            # a service of its own, all workloads
    python loadtest/overload.py --workload known --seconds 60 --out docs/benchmarks/overload.md
    python loadtest/overload.py --host http://127.0.0.1:8080 --pid 1234

For each workload: the latency of one caller alone, the rate that callers who wait for their answers
reach (what the service can carry), and then `--times` that rate from callers who wait for nothing.
Meanwhile `/health/live` is asked every 50 ms, and memory is read twice a second. It ends with
exit code 1 if a promise is broken.

The load is made on the same CPUs that the server needs: with a low priority, since callers on other
machines would take nothing from it. What is seen here is still a little worse than what they see.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import itertools
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import orjson
import psutil
import typer
from PIL import Image

from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.bench.open_loop import Exchange, OpenLoop
from ovseg.bench.verdict import broken_lines, conclude
from ovseg.bench.workload import make_photo, unseen
from ovseg.server.service import running_service

WORKLOADS = {
    "known": "the next prompt on a known image",
    "new": "images that the server has not seen",
    "mixed": "four of five about the known image, one about a new one",
    "large": "the next prompt on a known image of 8 MB (11 MB of JSON), at most a gigabit of them",
}
PROMISED_RATIO, PROMISED_REFUSAL_S, PROMISED_LIVE_S, PROMISED_GROWTH = 2.0, 0.05, 0.1, 1.2
SETTLING_S = 5.0
"""A burst is let in before the service knows that more will come; shown apart."""
LOST_AFTER_S = 90.0
NICENESS = 10
"""Of the thread that makes the load."""
WITHOUT_PROMISED_TIMES = ("large",)
"""Merely taking such bodies in, and throwing most of them away, keeps the CPUs busy."""
NETWORK_BYTES_PER_S = 125e6
"""No more is sent, as a network would carry no more."""


def body(image: bytes) -> bytes:
    """A request for one box without a picture."""
    return orjson.dumps(
        {
            "image": base64.b64encode(image).decode("ascii"),
            "promptType": "box",
            "prompt": [[150, 12, 500, 400]],
            "visualize": False,
        }
    )


def large_image() -> bytes:
    """A file of 8 MB that decodes fast."""
    file = io.BytesIO()
    Image.open(io.BytesIO(make_photo())).resize((1900, 1425)).save(file, "BMP")
    return file.getvalue()


def bodies(workload: str, new_images: int) -> Callable[[], bytes]:
    """Gives the next request's body; those about new images are made now, and used once."""
    if workload == "large":
        return itertools.repeat(body(large_image())).__next__
    known = body(make_photo())
    if workload == "known":
        return itertools.repeat(known).__next__
    fresh = itertools.cycle([body(unseen(make_photo())) for _ in range(new_images)])
    if workload == "new":
        return fresh.__next__
    numbers = itertools.count()
    return lambda: known if next(numbers) % 5 else next(fresh)


@dataclass
class Watch:
    """What is seen of the service from outside while it is under load."""

    live_s: list[float] = field(default_factory=list)
    rss: list[dict[str, float]] = field(default_factory=list)
    """MB of each part, twice a second."""


@contextmanager
def watching(base_url: str, pid: int | None) -> Iterator[Watch]:
    """Ask for life and read memory while the block runs."""
    watch, over = Watch(), threading.Event()

    def ask_live() -> None:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)
        while not over.wait(0.05):
            asked = time.perf_counter()
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            watch.live_s.append(time.perf_counter() - asked)

    def read_memory() -> None:
        while not over.wait(0.5):
            watch.rss.append(memory(pid))

    threads = [threading.Thread(target=ask_live), threading.Thread(target=read_memory)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()


def memory(pid: int | None) -> dict[str, float]:
    """Resident MB of the gateways, and of Triton with its stages."""
    found = {"gateway": 0.0, "Triton": 0.0}
    if pid is None:
        return found
    for process in psutil.Process(pid).children(recursive=True):
        try:
            is_triton = "triton" in process.name()
            found["Triton" if is_triton else "gateway"] += process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return found


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


async def measure(
    workload: str, base_url: str, pid: int | None, alone: int, seconds: float, times: float
) -> Finding:
    """Measure one workload; see the module's text."""
    loop = OpenLoop(base_url, LOST_AFTER_S)
    # More than are answered; a refused image is as new the next time.
    next_body = bodies(workload, new_images=300)
    await loop.take_turns(next_body, 1, 5)
    unloaded = [e.seconds for e in await loop.take_turns(next_body, 1, alone)]
    busy = await loop.take_turns(next_body, 3, max(alone // 2, 12))
    rate = sum(e.status == 200 for e in busy) / max(e.sent_at + e.seconds for e in busy)
    loop.close()
    most = NETWORK_BYTES_PER_S / len(next_body())

    def flood() -> list[Exchange]:
        os.nice(NICENESS)  # On Linux that of this thread alone.
        crowd = OpenLoop(base_url, LOST_AFTER_S)
        return asyncio.run(crowd.drive(next_body, min(times * rate, most), seconds))

    before = memory(pid)
    with watching(base_url, pid) as watch, ThreadPoolExecutor(1) as pool:
        exchanges = pool.submit(flood).result()
    return Finding(workload, unloaded, rate, exchanges, watch, before)


def main(
    workload: Annotated[
        list[str] | None,
        typer.Option(help="; ".join(f"{k}: {v}" for k, v in WORKLOADS.items()) + ". Default: all."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="A running gateway; by default a service is started.")
    ] = None,
    pid: Annotated[
        int | None, typer.Option(help="Of its supervisor (`ovseg serve`), to read memory.")
    ] = None,
    alone: Annotated[int, typer.Option(help="Requests of one caller alone.")] = 100,
    seconds: Annotated[float, typer.Option(help="How long requests are sent.")] = 30.0,
    times: Annotated[float, typer.Option(help="How much more than the service can carry.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
) -> None:
    """Overload the service, and check what it promises: see the text at the file's top.

    Nothing is lost, refusals are 503 with Retry-After within 50 ms, those who are answered wait at
    most twice as long as without load, /health/live answers within 100 ms, and memory is flat. Of
    the flood of large bodies no times are promised.
    """
    chosen = workload or list(WORKLOADS)
    if unknown := set(chosen) - set(WORKLOADS):
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    with ExitStack() as stack:
        if host is None:
            service = stack.enter_context(running_service())
            host, pid = service.base_url, service.process.pid
        findings = []
        for name in chosen:
            finding = asyncio.run(measure(name, host, pid, alone, seconds, times))
            findings.append(finding)
            typer.echo(f"\n{name}: {WORKLOADS[name]}")
            for fact, value in finding.facts().items():
                typer.echo(f"  {fact:40} {value}")
    broken = [text for finding in findings for text in finding.broken_promises()]
    conclude(markdown(findings, times, broken), out, broken)


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


if __name__ == "__main__":
    typer.run(main)
