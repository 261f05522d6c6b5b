"""How every command ends that cannot do what it was asked for."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console


def show_error(message: str) -> None:
    """Say why, on standard error: red on a terminal, unless NO_COLOR is set."""
    # Its own width is the terminal's business: a path that is broken cannot be copied.
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"error: {message}", style="red", markup=False)


def fail(message: str) -> NoReturn:
    """Say why, on standard error, and end with exit code 1."""
    show_error(message)
    raise typer.Exit(1)
