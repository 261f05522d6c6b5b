"""`ovseg bench breakdown` and `ovseg bench instances`."""

from __future__ import annotations

from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ovseg.cli.failing import fail
from ovseg.server.errors import ServerStartError
from ovseg.settings import available_cpus, get_settings


def breakdown(
    model: Annotated[
        str | None, typer.Option(help="An installed model; by default OVSEG_MODEL.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Requests of each kind.")] = 20,
    size: Annotated[str, typer.Option(help="Of the photo, WIDTHxHEIGHT.")] = "1000x750",
) -> None:
    """Show where the time of a request goes, for new images and next prompts.

    Starts a service on free ports. Parts are medians of what `Server-Timing` says, so they need
    not add up to the median of the whole.
    """
    from ovseg.bench.breakdown import BreakdownError, measure_breakdowns
    from ovseg.server.service import running_service

    try:
        width, height = (int(side) for side in size.split("x"))
    except ValueError:
        raise typer.BadParameter(f"{size!r}: WIDTHxHEIGHT is needed, like 4000x3000") from None
    settings = get_settings()
    console = Console(highlight=False)
    environment = {
        "OVSEG_MODEL": model or settings.model,
        "OVSEG_MODEL_DIR": str(settings.model_dir),
    }
    try:
        with running_service(environment, timeout_s=600.0) as service:
            found = measure_breakdowns(
                service, samples, Console(stderr=True).print, (width, height)
            )
    except (ServerStartError, BreakdownError) as error:
        fail(str(error))
    names = list(dict.fromkeys(name for one in found for name in one.parts))
    table = Table("ms, medians", *(one.scenario for one in found), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in names:
        table.add_row(name, *(_milliseconds(one.parts.get(name)) for one in found))
    table.add_section()
    table.add_row("REST, all", *(_milliseconds(one.rest_total) for one in found))
    table.add_row("REST, all but networks", *(_milliseconds(one.rest_overhead) for one in found))
    table.add_row("gRPC, all", *(_milliseconds(one.grpc_total) for one in found))
    table.add_row("gRPC, all but networks", *(_milliseconds(one.grpc_overhead) for one in found))
    console.print(table)


def instances(
    model: Annotated[
        str | None, typer.Option(help="An installed model; by default OVSEG_MODEL.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="For each cell and round.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions of everything.")] = 3,
) -> None:
    """Compare numbers of threads and instances at 1, 4 and 16 clients.

    What `instance_group` in model_repository and the default of OVSEG_THREADS are chosen by.
    """
    from ovseg.bench.instances import measure_instances, settings_to_try

    settings = get_settings()
    if model:
        settings = settings.model_copy(update={"model": model})
    try:
        found = measure_instances(
            settings,
            settings_to_try(available_cpus()),
            clients=(1, 4, 16),
            mixes=("one hot image", "all new"),
            seconds=seconds,
            rounds=rounds,
            say=Console(stderr=True).print,
        )
    except ServerStartError as error:
        fail(str(error))
    table = Table("setting", "mix", "clients", "answers/s", "p95, ms", "failed", "MB", box=None)
    for cell in found.cells:
        table.add_row(
            str(cell.setting),
            cell.mix,
            str(cell.clients),
            f"{median(cell.per_second):.2f}",
            f"{median(cell.p95_ms):.0f}" if cell.p95_ms else "–",
            str(cell.failed),
            f"{found.peak_memory_bytes[str(cell.setting)] / 1e6:.0f}",
        )
    Console(highlight=False, width=120).print(table)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
