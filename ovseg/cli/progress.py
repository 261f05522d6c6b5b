"""Progress of commands that take a while, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def shown_steps() -> Iterator[Callable[[str], None]]:
    """A function that shows a line for each step; on a terminal the last one keeps moving."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with console.status("") as status:

        def step(line: str) -> None:
            console.print(line, markup=False)
            status.update(f"{line} …".replace("[", "\\["))

        yield step
