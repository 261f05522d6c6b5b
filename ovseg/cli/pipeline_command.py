"""PaddleX's own command line: `ovseg --pipeline … --input …`, without a sub-command."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from ovseg_client import OvsegError, create_pipeline
from ovseg_client.client import TOKEN_VARIABLE
from ovseg_client.images import is_url
from ovseg_client.pipeline.config import DEFAULT_YAML, PIPELINE_NAME
from ovseg_client.pipeline.server import ADDRESS_VARIABLE
from ovseg_client.prompts import make_prompts
from rich.console import Console
from rich.logging import RichHandler

from ovseg import __version__
from ovseg.cli.failing import fail

_PANEL = "PaddleX's command line"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ovseg {__version__}")
        raise typer.Exit


def pipeline(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Option(
            "--pipeline",
            rich_help_panel=_PANEL,
            help=f"{PIPELINE_NAME}, or a pipeline's YAML file.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            rich_help_panel=_PANEL,
            help="Image file, PDF, folder of them, or an http(s) URL.",
        ),
    ] = None,
    prompt_type: Annotated[
        str, typer.Option("--prompt_type", rich_help_panel=_PANEL, help="box or point.")
    ] = "box",
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            rich_help_panel=_PANEL,
            metavar="[[…],…]",
            help="Rows x0,y0,x1,y1 (boxes) or x,y (points) in pixels; each gives one mask.",
        ),
    ] = None,
    save_path: Annotated[
        Path | None,
        typer.Option(
            "--save_path",
            rich_help_panel=_PANEL,
            help="Folder for the pictures and the JSON files with the masks.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", rich_help_panel=_PANEL, help="Accepted; the server's settings decide."
        ),
    ] = None,
    use_hpip: Annotated[
        bool,
        typer.Option(
            "--use_hpip", rich_help_panel=_PANEL, help="Accepted; the server does it anyway."
        ),
    ] = False,
    get_pipeline_config: Annotated[
        str | None,
        typer.Option(
            "--get_pipeline_config",
            rich_help_panel=_PANEL,
            metavar="NAME",
            help="Write the pipeline's YAML file to --save_path instead (here by default).",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar=ADDRESS_VARIABLE,
            rich_help_panel=_PANEL,
            help="The server; by default one that is ready at the settings' address, "
            "else one that is started for this command.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            rich_help_panel=_PANEL,
            help="A token, if the server asks for one; better in the environment.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Serve the Segment Anything Model on NVIDIA Triton, behind PaddleX's REST API."""
    paddlex_form = name or source or prompt or get_pipeline_config
    if context.invoked_subcommand is not None:
        if paddlex_form:
            raise typer.BadParameter(f"it does not go with `ovseg {context.invoked_subcommand}`")
        return
    if get_pipeline_config is not None:
        _write_config(get_pipeline_config, save_path or Path())
        return
    for option, value in (("--pipeline", name), ("--input", source), ("--prompt", prompt)):
        if value is None:
            raise typer.BadParameter("it is missing", param_hint=option)
    if prompt_type not in ("box", "point"):
        raise typer.BadParameter("it is box or point", param_hint="--prompt_type")
    rows = _parse_prompt(prompt or "", prompt_type)
    if source and not is_url(source) and not Path(source).exists():
        fail(f"{source}: no such file or folder")
    _predict(
        {"pipeline": name, "device": device, "use_hpip": use_hpip, "url": url, "token": token},
        {
            "input": source,
            "prompt": rows,
            "prompt_type": prompt_type,
            "visualize": save_path is not None,
        },
        save_path,
    )


def _predict(options: dict[str, Any], request: dict[str, Any], save_path: Path | None) -> None:
    """Print each result, and save it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    _show_steps(console)
    try:
        with console.status("looking for a server …"):
            served = create_pipeline(**options)
        with served:
            for result in served.predict(**request):
                result.print()
                if save_path is not None:
                    result.save_all(save_path)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.strerror else str(error))
    except (OvsegError, ValueError, ImportError) as error:
        fail("; ".join([str(error), *getattr(error, "__notes__", [])]))


def _show_steps(console: Console) -> None:
    """The client's own log lines, for people."""
    handler = RichHandler(
        console=console, show_time=False, show_level=False, show_path=False, markup=False
    )
    logger = logging.getLogger("ovseg_client")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def _parse_prompt(text: str, prompt_type: str) -> list[list[float]]:
    """`[[150, 12.5, 300, 150]]` -> rows of as many numbers as the kind of prompt has."""
    try:
        rows = [[float(number) for number in row] for row in ast.literal_eval(text)]
        make_prompts(**{"boxes" if prompt_type == "box" else "points": rows})
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        example = "[[150,12,300,150]]" if prompt_type == "box" else "[[225,80]]"
        raise typer.BadParameter(
            f"{text!r} is not a list of rows such as {example}", param_hint="--prompt"
        ) from None
    return rows


def _write_config(name: str, save_path: Path) -> None:
    if name != PIPELINE_NAME:
        raise typer.BadParameter(
            f"there is one pipeline here, {PIPELINE_NAME}", param_hint="--get_pipeline_config"
        )
    if save_path.suffix not in (".yaml", ".yml"):
        save_path /= f"{name}.yaml"
    if save_path.exists() and not typer.confirm(f"{save_path} exists. Replace it?"):
        raise typer.Abort
    try:
        save_path.parent.mkdir(parents=True, exist_ok=True)
        save_path.write_text(DEFAULT_YAML, "utf-8")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    typer.echo(f"wrote {save_path}")
