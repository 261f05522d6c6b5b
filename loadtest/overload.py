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
import io
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import orjson
import typer
from PIL import Image

from loadtest.overload_findings import WORKLOADS, Finding, markdown
from loadtest.overload_watch import memory, watching
from ovseg.bench.open_loop import Exchange, OpenLoop
from ovseg.bench.verdict import conclude
from ovseg.bench.workload import make_photo, unseen
from ovseg.server.service import running_service

LOST_AFTER_S = 90.0
NICENESS = 10
"""Of the thread that makes the load."""
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


if __name__ == "__main__":
    typer.run(main)
