"""Progress of commands that take a while, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ovseg.checkpoints.downloading import Report
from ovseg.checkpoints.published import PublishedFile

Step = Callable[[str], None]


@contextmanager
def shown_steps() -> Iterator[Step]:
    """A function that shows a line for each step; on a terminal the last one keeps moving."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with console.status("") as status:

        def step(line: str) -> None:
            console.print(line, markup=False)
            status.update(f"{line} …".replace("[", "\\["))

        yield step


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
