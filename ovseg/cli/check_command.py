"""`ovseg check`."""

from __future__ import annotations

from typing import Annotated

import typer

from ovseg.cli.checks_table import print_checks
from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_steps
from ovseg.engines import EngineError
from ovseg.manifest import ModelNotInstalledError
from ovseg.settings import PrecisionName, get_settings


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An installed model.")],
    precision: Annotated[
        PrecisionName, typer.Option(help="Of the encoder, from now on; `int8` is tried too.")
    ] = "auto",
) -> None:
    """Try the inference engines on an installed model, as `ovseg import` does.

    Do it again on another machine, or after installing an engine: what `OVSEG_ENGINE=auto` and
    `OVSEG_PRECISION=auto` mean follows from it. Exit code 1 if the precision was refused.
    """
    # Imports OpenCV and more.
    from ovseg.checkpoints.self_check import check_engines

    settings = get_settings()
    try:
        with shown_steps() as progress:
            manifest = check_engines(settings.model_dir / name, settings, progress, precision)
    except (EngineError, ModelNotInstalledError) as error:
        fail(str(error))
    print_checks(manifest)
    if precision not in ("auto", manifest.precision):
        fail(f"{precision} was refused for {name}")
