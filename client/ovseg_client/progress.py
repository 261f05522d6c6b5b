"""How far a long call is: a bar in the terminal, or a call of the caller's function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = bool | Callable[[int, int | None], object]
"""True for a bar (needs the extra `progress`), or a function of the numbers of what is done and of
all (None for items that have no length)."""


@contextlib.contextmanager
def reporting(progress: Progress) -> Iterator[Callable[[int, int | None], object]]:
    """A function of the numbers of what is done and of all, to be called whenever they change.

    Raises:
        ImportError: a bar without the extra.
    """
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as update:
            yield update
    else:
        yield lambda done, total: None


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int | None], object]]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError as missing:
        raise ImportError(
            f"progress=True needs rich: pip install 'ovseg-client[progress]' ({missing})"
        ) from missing
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
