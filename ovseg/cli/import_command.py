"""`ovseg import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovseg.checkpoints.errors import CheckpointError
from ovseg.checkpoints.paddlex import install_paddlex_model, is_paddlex_folder
from ovseg.settings import get_settings


def import_model(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            exists=True,
            help="A checkpoint (.pth, .safetensors), or PaddleX inference model folders.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="What it is: sam_vit_b, sam_vit_l, sam_vit_h, or a name for PaddleX's."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Install under this name instead of the variant's.")
    ] = None,
) -> None:
    """Install a model so that `OVSEG_MODEL=NAME ovseg serve` serves it.

        ovseg import sam_vit_b_01ec64.pth --model sam_vit_b

        ovseg import SAM-H_box_infer SAM-H_point_infer --model SAM-H

    Nothing in a checkpoint is executed: of a pickle only tensors and containers are read. A
    failure leaves nothing behind.
    """
    settings = get_settings()
    try:
        if all(is_paddlex_folder(source) for source in sources):
            manifest = install_paddlex_model(sources, settings.model_dir, name or model)
        elif len(sources) == 1:
            from ovseg.checkpoints.importing import import_checkpoint

            manifest = import_checkpoint(
                sources[0], model, settings.model_dir, name, progress=typer.echo
            )
        else:
            raise CheckpointError("several sources must all be PaddleX inference model folders")
    except CheckpointError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(
        f"installed {manifest.name} ({manifest.parameters / 1e6:.1f} M parameters) in "
        f"{settings.model_dir / manifest.name}; serve it with: "
        f"OVSEG_MODEL={manifest.name} ovseg serve"
    )
