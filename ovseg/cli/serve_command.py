"""`ovseg serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from ovseg.checkpoints.bundled import install_bundled_model
from ovseg.checkpoints.errors import CheckpointError
from ovseg.cli.failing import fail
from ovseg.engines import EngineError
from ovseg.manifest import ModelNotInstalledError
from ovseg.server.errors import ServerStartError
from ovseg.server.supervisor import Part
from ovseg.server.supervisor import serve as run_server
from ovseg.settings import BUNDLED_MODEL, get_settings


def serve(
    part: Annotated[
        Part, typer.Argument(help="Both, or one of the two processes (as two containers do).")
    ] = "all",
) -> None:
    """Start Triton and the gateway; Ctrl-C stops them.

    Everything is a setting in the environment, for example:

        OVSEG_PORT=9000 OVSEG_MODEL=sam_vit_b ovseg serve

    `ovseg config` lists all settings. The exit code is 0 after Ctrl-C or SIGTERM, 128 + the
    signal's number after a second one, which does not wait for requests under way, and 1, with one
    line that says why, when a process could not be started, or be kept running.
    """
    settings = get_settings()
    try:
        if settings.model == BUNDLED_MODEL and part != "gateway":
            install_bundled_model(settings.model_dir, say=typer.echo)
        code = run_server(settings, part, say=typer.echo)
    except (ServerStartError, ModelNotInstalledError, CheckpointError, EngineError) as error:
        fail(str(error))
    raise typer.Exit(code)
