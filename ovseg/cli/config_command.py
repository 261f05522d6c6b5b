"""`ovseg config`."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from ovseg.settings import Settings, get_settings


def config(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Show every setting: its environment variable, its value here, and what it does."""
    settings = get_settings()
    values = settings.model_dump(mode="json")
    if as_json:
        variables = {f"OVSEG_{name.upper()}": value for name, value in values.items()}
        typer.echo(orjson.dumps(variables, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("variable", "value", "what it does", box=None)
    for name, field in Settings.model_fields.items():
        value = "" if values[name] is None else str(values[name])
        changed = name in settings.model_fields_set
        table.add_row(
            f"OVSEG_{name.upper()}", f"[bold]{value}[/]" if changed else value, field.description
        )
    Console().print(table)
