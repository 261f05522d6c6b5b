"""Progress of commands that take a while, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ovseg.checkpoints.downloading import Report
from ovseg.checkpoints.published import PublishedFile

Step = Callable[[str], None]


@contextmanager
def shown_steps() -> Iterator[Step]:
    """A function that shows a line for each step; on a terminal with the time that it takes."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield lambda line: console.print(line, markup=False)
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as steps:

        def finish() -> None:
            for task in steps.tasks:
                steps.update(task.id, total=1, completed=1)

        def step(line: str) -> None:
            finish()
            steps.add_task(line, total=None)

        yield step
        finish()


@contextmanager
def shown_downloads() -> Iterator[tuple[Callable[[PublishedFile], Report], Step]]:
    """What shows a bar for each downloaded file, and what shows a line for each step."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def reporter(file: PublishedFile) -> Report:
            bar = bars.add_task(file.name, total=file.size_bytes)
            return lambda received, total: bars.update(bar, completed=received, total=total)

        yield reporter, lambda line: console.print(line, markup=False)
