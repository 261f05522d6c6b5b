"""`ovseg export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_steps
from ovseg.exporting.errors import ExportError
from ovseg.manifest import ModelNotInstalledError, PromptKind
from ovseg.settings import get_settings


class Format(StrEnum):
    """Whose format."""

    PADDLEX = "paddlex"
    ONNX = "onnx"
    PADDLE = "paddle"
    OPENVINO = "openvino"


class Prompt(StrEnum):
    """The kind of prompt of one of PaddleX's models."""

    BOX = "box"
    POINT = "point"


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An installed model.")],
    export_format: Annotated[
        Format, typer.Option("--format", help="PaddleX's own models, or single programs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder to write to.")],
    prompt: Annotated[
        Prompt | None, typer.Option(help="Only this one of PaddleX's two models.")
    ] = None,
) -> None:
    """Write an installed model in another program's format.

        ovseg export sam_vit_b --format paddlex --output exported

        ovseg export sam_vit_b --format onnx --output exported

    The folder holds a README.md with every tensor's name, shape and meaning. A failure leaves
    nothing behind.
    """
    # Imports Paddle, which takes seconds.
    from ovseg.exporting.export_model import export_model

    kinds: tuple[PromptKind, ...] = ("box", "point") if prompt is None else (prompt.value,)
    try:
        if prompt is not None and export_format is not Format.PADDLEX:
            raise ExportError("--prompt goes with --format paddlex only")
        with shown_steps() as step:
            model_folder = get_settings().model_dir / name
            export_model(model_folder, export_format.value, output, kinds, progress=step)
    except (ExportError, ModelNotInstalledError) as error:
        fail(str(error))
    typer.echo(f"wrote {name} as {export_format.value} to {output}")
