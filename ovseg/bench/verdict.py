"""How a measurement that checks promises ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer


def conclude(document: str, out: Path | None, broken: Sequence[str]) -> NoReturn:
    """Write the report, say which promises are broken, and end with exit code 1 if any is.

    Args:
        document: Markdown.
        out: where it goes; None: nowhere.
        broken: the broken promises, a line each.
    """
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(document, "utf-8")
    for text in broken:
        typer.secho(text, fg="red", err=True)
    raise typer.Exit(1 if broken else 0)


def broken_lines(broken: Sequence[str]) -> list[str]:
    """The end of such a report."""
    return ["", *(f"- Broken: {text}" for text in broken or ["nothing"]), ""]
