"""How long the service is broken when one of its processes is killed, and what callers see of it.

    python -m loadtest.crashes                                # each part five times
    python -m loadtest.crashes --kills 2 --part tritonserver --out docs/benchmarks/crashes.md

A service of its own with the default model and two gateways is asked all the time: known images,
new ones, with the picture and without. Each part is then killed (SIGKILL) again and again. It is
whole when a new image with a picture was answered and `/health/ready` says so. Between kills it is
left alone for as long as the supervisor takes to call a process stable. Exit code 1 if a promise
is broken.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer

from loadtest.soak.exchanges import Addresses, Exchange
from loadtest.soak.faults import STAGES
from loadtest.soak.processes import service_processes
from loadtest.steady_load import SteadyLoad, summary
from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.bench.verdict import broken_lines, conclude
from ovseg.server.service import running_service

PARTS = (*(f"stub {stage}" for stage in STAGES), "tritonserver", "gateway worker")
PROMISED_S = 10.0
GIVE_UP_S = 60.0
_SETTLED_S = 2.0
"""Of requests after the service was whole that still count to a kill."""


@dataclass
class Finding:
    """What came of the kills of one part."""

    part: str
    recoveries: list[float] = field(default_factory=list)
    """Seconds until the service was whole; `GIVE_UP_S` where it was not."""
    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    """Of the requests that were answered with masks."""

    def add(self, recovery_s: float | None, exchanges: list[Exchange]) -> None:
        """Count one kill."""
        self.recoveries.append(GIVE_UP_S if recovery_s is None else recovery_s)
        self.answers += summary(exchanges)
        answered = [exchange.seconds for exchange in exchanges if exchange.status == 200]
        self.slowest_s = max([self.slowest_s, *answered])

    def row(self) -> tuple[str, ...]:
        """Of the table."""
        counts = self.answers
        others = {end: n for end, n in counts.items() if end not in ("200", "503")}
        return (
            self.part,
            str(len(self.recoveries)),
            f"{statistics.median(self.recoveries):.1f}",
            f"{max(self.recoveries):.1f}",
            str(counts.total()),
            str(counts["200"]),
            str(counts["503"]),
            ", ".join(f"{n} {end}" for end, n in others.items()) or "0",
            f"{self.slowest_s:.1f}",
        )

    def broken_promises(self) -> list[str]:
        """What does not hold."""
        # The connections of a killed gateway break with it.
        allowed = {"200", "503", "cut"} if self.part == "gateway worker" else {"200", "503"}
        found = [
            f"{n} requests ended {end}" for end, n in self.answers.items() if end not in allowed
        ]
        if max(self.recoveries) > PROMISED_S:
            found.append(f"whole only after {max(self.recoveries):.1f} s")
        return [f"{self.part}: {text}" for text in found]


HEADER = (
    "killed",
    "kills",
    "whole after, s (median)",
    "(longest)",
    "requests meanwhile",
    "200",
    "503",
    "other",
    "slowest 200, s",
)


def kill(load: SteadyLoad, pid: int, part: str, finding: Finding) -> None:
    """Kill one process of a part, and wait until all is well."""
    load.wait_for_answers(3)
    victims = service_processes(pid)[part]
    killed = time.monotonic()
    min(victims, key=psutil.Process.create_time).kill()  # Not what one has forked for a moment.
    recovery_s = load.wait_whole(killed, GIVE_UP_S)
    time.sleep(_SETTLED_S)
    finding.add(recovery_s, load.between(killed, time.monotonic() - _SETTLED_S))


def main(
    part: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(PARTS)}. Default: all.")
    ] = None,
    kills: Annotated[int, typer.Option(min=1, help="Of each part.")] = 5,
    callers: Annotated[int, typer.Option(min=1, help="At the same time.")] = 2,
    pause: Annotated[
        float, typer.Option(help="Seconds between kills: after 30 the next is the first again.")
    ] = 31.0,
    out: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
) -> None:
    """Kill the service's processes under load: see the text at the file's top."""
    chosen = part or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(PARTS)}")
    findings = [Finding(name) for name in chosen]
    with running_service({"OVSEG_GATEWAY_WORKERS": "2"}) as service:
        port = urlsplit(service.base_url).port
        assert port is not None
        addresses = Addresses("127.0.0.1", port, service.grpc_address)
        with SteadyLoad(addresses, callers) as load:
            # In turn, so that a part's kills lie far from each other anyway.
            for number in range(kills):
                for finding in findings:
                    if number or finding is not findings[0]:
                        time.sleep(max(pause / len(findings), 0.0))
                    kill(load, service.process.pid, finding.part, finding)
                    typer.echo(f"{finding.part}: {finding.recoveries[-1]:.1f} s")
        exit_code = service.stop()
    lines = table(HEADER, (finding.row() for finding in findings))
    typer.echo("\n" + "\n".join(lines))
    broken = [text for finding in findings for text in finding.broken_promises()]
    broken += [f"wrong masks: {problem}" for problem in load.wrong]
    broken += [f"exit code {exit_code}"] if exit_code else []
    conclude(document(lines, callers, broken), out, broken)


def document(lines: list[str], callers: int, broken: list[str]) -> str:
    """The report."""
    head = ["# Processes killed under load", "", "Written by `python -m loadtest.crashes`, which"]
    head += [f"says how it is measured; {callers} callers.", ""]
    machine = table(("", ""), describe_machine().items())
    return "\n".join([*head, *machine, "", *lines, *broken_lines(broken)])


if __name__ == "__main__":
    typer.run(main)
