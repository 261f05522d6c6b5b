"""The command line of the soak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.soak.faults import Fault, all_faults
from loadtest.soak.hostile_server import hostile_server
from loadtest.soak.promises import broken_promises
from loadtest.soak.report import write_report
from loadtest.soak.run import Plan, Soak, soaked_service
from loadtest.soak.screen import Screen
from ovseg.checkpoints.errors import CheckpointError
from ovseg.engines import EngineError
from ovseg.server.errors import ServerStartError
from ovseg.settings import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "loadtest" / "results"
LOG = RESULTS / "soak.log"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30.0,
    fault_every: Annotated[
        float, typer.Option(min=1.0, help="Seconds from one fault to the next.")
    ] = 60.0,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only faults with this in their name; may be repeated. `none`: none."),
    ] = None,
    callers: Annotated[int, typer.Option(min=1, help="Concurrent callers.")] = 4,
    pause: Annotated[
        float,
        typer.Option(
            min=0.01,
            help="Mean seconds between a caller's requests: without a fault the callers must ask "
            "for less than the machine can do, since then no request may be refused.",
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 1,
    out: Annotated[
        Path,
        typer.Option(
            help="The report, Markdown. In a file that has the section's two markers, the section "
            "between them is replaced."
        ),
    ] = RESULTS / "soak.md",
) -> None:
    """Let callers who behave and callers who do not at a service while its processes are killed.

    Starts a service of its own on free ports of 127.0.0.1, with the bundled model, learns its masks
    while it is quiet, and then sends good, bad and hostile requests from a bounded number of
    callers. Every minute one fault is injected, in turn: kill -9 of each stage's process, of
    tritonserver and of a gateway worker, a stopped stage, a model loaded again, a burst far above
    capacity, a swarm of callers who leave.

    Every request must get an answer, and the right one: the masks of the quiet service, or the
    refusal with the right status that names the right field; 429, 503 and 504 only around a fault.
    After a fault the service must be whole within 10 s; memory, file descriptors and /dev/shm must
    stay flat.

    The exit code is 0 if every promise was kept, else 1 with each broken promise in a line, 2 if
    the service cannot be started. Ctrl-C ends it early; the report is written all the same.

    A short one: python -m loadtest.soak --minutes 5 --fault-every 20
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    screen = Screen(console)
    plan = Plan(minutes * 60.0, fault_every, callers, pause, seed, _chosen(only))
    RESULTS.mkdir(parents=True, exist_ok=True)
    try:
        screen.say(f"starting the service, which prints to {LOG} …")
        with hostile_server() as url, soaked_service(LOG, screen.say) as (service, settings):
            screen.say("learning the masks of the quiet service …")
            run = Soak(plan, service, settings, url, screen.say)
            with screen:
                outcome = run.run(screen.shown(run))
    except (ServerStartError, CheckpointError, EngineError, ValueError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
    write_report(outcome, out)
    broken = broken_promises(outcome)
    for line in broken:
        typer.secho(f"broken: {line}", fg="red", err=True)
    typer.echo(f"{'broken promises' if broken else 'every promise was kept'}; report: {out}")
    raise typer.Exit(1 if broken else 0)


def _chosen(only: list[str] | None) -> list[Fault]:
    faults = all_faults()
    if only is None:
        return faults
    if only == ["none"]:
        return []
    chosen = [fault for fault in faults if any(part in fault.name for part in only)]
    if not chosen:
        names = ", ".join(fault.name for fault in faults)
        raise typer.BadParameter(f"no such fault; there are: {names}")
    return chosen
