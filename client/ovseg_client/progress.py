"""How far `predict_many` is: a bar in the terminal, or a call of the caller's function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = bool | Callable[[int, int | None], object]
"""True for a bar (needs the extra `progress`), or a function of the numbers of results and of items
(None for items that have no length)."""


@contextlib.contextmanager
def reporting(progress: Progress, total: int | None) -> Iterator[Callable[[int], object]]:
    """A function of the number of results, to be called with each of them.

    Raises:
        ImportError: a bar without the extra.
    """
    if callable(progress):
        report = progress
        yield lambda done: report(done, total)
    elif progress:
        with _bar(total) as update:
            yield update
    else:
        yield lambda done: None


@contextlib.contextmanager
def _bar(total: int | None) -> Iterator[Callable[[int], object]]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError as missing:
        raise ImportError(
            f"progress=True needs rich: pip install 'ovseg-client[progress]' ({missing})"
        ) from missing
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
