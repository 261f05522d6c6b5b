"""`ovseg fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from ovseg.checkpoints.errors import CheckpointError
from ovseg.checkpoints.fetching import fetch_model, find_published, is_fetched
from ovseg.cli.checks_table import print_checks
from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_downloads
from ovseg.engines import EngineError
from ovseg.settings import get_settings


def fetch(
    name: Annotated[str, typer.Argument(help="A model of `ovseg models`, such as mobile_sam.")],
    force: Annotated[
        bool, typer.Option("--force", help="Fetch it again although it is installed.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the downloaded file after installing it.")
    ] = False,
    accept_change: Annotated[
        bool,
        typer.Option(
            "--accept-change",
            help="Take a file that differs from what its publisher offered before.",
        ),
    ] = False,
) -> None:
    """Download a model from its publisher and install it.

        ovseg fetch sam_vit_b

    An interrupted download goes on where it stopped when the command is given again. Where a
    checksum is known the file must have it; otherwise the first download is trusted, and later
    ones must be the same.
    """
    # Imports OpenCV and more.
    from ovseg.checkpoints.self_check import check_engines

    settings = get_settings()
    try:
        model = find_published(name)
        if not force and is_fetched(model, settings.model_dir):
            typer.echo(f"{name} is installed already; --force fetches it again")
            return
        with shown_downloads() as (reporter, step):
            fetch_model(model, settings.model_dir, reporter, step, accept_change, keep)
            manifest = check_engines(settings.model_dir / name, settings, step)
    except (CheckpointError, EngineError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.secho("\nstopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    print_checks(manifest)
    typer.echo(f"installed {name}; serve it with: OVSEG_MODEL={name} ovseg serve")
