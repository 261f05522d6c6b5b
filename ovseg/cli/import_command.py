"""`ovseg import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovseg.checkpoints.errors import CheckpointError
from ovseg.checkpoints.import_sources import import_sources
from ovseg.cli.checks_table import print_checks
from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_steps
from ovseg.engines import EngineError
from ovseg.settings import EngineName, PrecisionName, get_settings


def import_model(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            exists=True,
            help="A checkpoint (Meta's .pth, MobileSAM's .pt, .safetensors), a Hugging Face "
            "folder, or PaddleX inference models (folders or .tar).",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="What it must be (sam_vit_b, mobile_sam, …), or any other name to install under; "
            "by default what the content says."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Install under this name instead of the variant's.")
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="What to run it with, unless OVSEG_ENGINE says otherwise."),
    ] = "auto",
    precision: Annotated[
        PrecisionName,
        typer.Option(
            help="What the encoder computes in, unless OVSEG_PRECISION says otherwise; taken only "
            "if the self-check finds that the masks stay the same."
        ),
    ] = "auto",
) -> None:
    """Install a model so that `OVSEG_MODEL=NAME ovseg serve` serves it.

        ovseg import sam_vit_b_01ec64.pth

        ovseg import sam-vit-large/ --name my-sam

        ovseg import SAM-H_box_infer.tar SAM-H_point_infer.tar

    What a source is follows from its content, not from its name. Nothing in a checkpoint is
    executed: of a pickle only tensors and containers are read. A failure leaves nothing behind.

    Then every engine at hand encodes a photograph and decodes prompts on it, and is refused where
    its masks are not those of Paddle in float32.
    """
    # Imports OpenCV and more.
    from ovseg.checkpoints.self_check import check_engines

    settings = get_settings()
    try:
        with shown_steps() as progress:
            manifest = import_sources(sources, settings.model_dir, model, name, progress, engine)
            folder = settings.model_dir / manifest.name
            manifest = check_engines(folder, settings, progress, precision)
    except (CheckpointError, EngineError) as error:
        fail(str(error))
    print_checks(manifest)
    if precision not in ("auto", manifest.precision):
        typer.secho(f"{precision} was refused: the encoder runs without it", fg="yellow", err=True)
    typer.echo(
        f"installed {manifest.name} ({manifest.parameters / 1e6:.1f} M parameters) in "
        f"{settings.model_dir / manifest.name}; serve it with: "
        f"OVSEG_MODEL={manifest.name} ovseg serve"
    )
