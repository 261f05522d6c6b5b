"""How every command ends that cannot do what it was asked for."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(message: str) -> NoReturn:
    """Say why, on standard error, and end with exit code 1."""
    typer.secho(f"error: {message}", fg="red", err=True)
    raise typer.Exit(1)
