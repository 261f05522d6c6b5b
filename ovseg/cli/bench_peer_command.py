"""`ovseg bench peer`."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ovseg.checkpoints.errors import CheckpointError
from ovseg.cli.failing import fail
from ovseg.engines import EngineError
from ovseg.exporting.errors import ExportError
from ovseg.manifest import ModelNotInstalledError
from ovseg.server.errors import ServerStartError
from ovseg.settings import BUNDLED_MODEL, PROJECT_ROOT, get_settings

PEER_FOLDER = PROJECT_ROOT / "build" / "peer"
DOCUMENTS = PROJECT_ROOT / "docs" / "benchmarks"


def peer(
    model: Annotated[
        str | None, typer.Option(help="An installed model; by default OVSEG_MODEL.")
    ] = None,
    seeded: Annotated[
        bool,
        typer.Option(help="Make the model (a variant such as sam_vit_b) with weights from a seed."),
    ] = False,
    quick: Annotated[bool, typer.Option(help="A few minutes, few samples.")] = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Rounds of each request.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="For each throughput cell; 0: no throughput.")
    ] = None,
    clients: Annotated[
        str | None, typer.Option(help="Numbers of clients, separated by commas.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Latency only of requests whose name has this in it.")
    ] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option("--peer", help="Only PaddleX servers whose name has this in it: shipped, …"),
    ] = None,
    peer_folder: Annotated[
        Path, typer.Option(help="Environment with PaddleX; made if it is missing.")
    ] = PEER_FOLDER,
    output: Annotated[Path, typer.Option(help="Folder for the document.")] = DOCUMENTS,
) -> None:
    """Compare with PaddleX's own server: same weights, same machine, same run.

    Starts this service and PaddleX (as shipped, and tuned) on free ports of 127.0.0.1, measures
    latency, fidelity, memory and throughput, and writes a Markdown document, plots and raw JSON.
    Stops the servers at the end, on Ctrl-C and on SIGTERM.
    """
    # These import Paddle and more.
    from ovseg.bench.documents import write_documents
    from ovseg.bench.peer_benchmark import FULL, QUICK, run_peer_benchmark
    from ovseg.bench.peer_benchmark import Progress as BenchmarkProgress
    from ovseg.bench.peer_server import PeerError, ensure_peer
    from ovseg.bench.seeded_model import install_seeded_model

    console = Console(highlight=False, stderr=True)
    options = QUICK if quick else FULL
    if samples is not None:
        options = replace(options, samples=samples)
    if seconds is not None:
        options = replace(options, throughput_s=seconds)
    if clients is not None:
        options = replace(options, clients=_numbers(clients))
    if only:
        matching = tuple(name for name in options.scenarios if any(part in name for part in only))
        options = replace(options, scenarios=matching)
    options = replace(options, peers=tuple(peers or ()))
    settings = get_settings()
    name = model or settings.model
    model_folder = settings.model_dir / name
    try:
        # Paddle, imported above, ends the process on SIGTERM without any cleaning up.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        python = ensure_peer(peer_folder, console.print)
        if seeded:
            model_folder = settings.model_dir / "seeded" / name
            install_seeded_model(name, model_folder.parent, console.print)
        elif name == BUNDLED_MODEL:
            from ovseg.checkpoints.bundled import install_bundled_model

            install_bundled_model(settings.model_dir, console.print)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=None)

            def step(what: str) -> None:
                bar.update(task, description=what, advance=1)
                if not console.is_terminal:
                    console.print(what)

            result = run_peer_benchmark(
                model_folder,
                python,
                options,
                BenchmarkProgress(console.print, lambda total: bar.update(task, total=total), step),
            )
    except (
        ServerStartError, PeerError, ExportError, CheckpointError, EngineError,
        ModelNotInstalledError,
    ) as error:  # fmt: skip
        fail(str(error))
    result.seeded = seeded
    typer.echo(write_documents(result, output, f"{result.date[:10]}-{name}"))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise typer.BadParameter(f"{text!r}: numbers separated by commas are needed, like 1,4,16")
    return found
