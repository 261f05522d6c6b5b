"""`ovseg serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from ovseg.checkpoints.bundled import install_bundled_model
from ovseg.checkpoints.errors import CheckpointError
from ovseg.cli.serve_screen import Screen, choose_screen
from ovseg.cli.serve_status import Status, addresses_of, curl_example, engines_meanwhile
from ovseg.engines import EngineError
from ovseg.manifest import ModelManifest, ModelNotInstalledError
from ovseg.server.errors import ServerStartError
from ovseg.server.exposure import check_tls
from ovseg.server.supervisor import Part
from ovseg.server.supervisor import serve as run_server
from ovseg.settings import BUNDLED_MODEL, Settings, get_settings


def serve(
    part: Annotated[
        Part, typer.Argument(help="Both, or one of the two processes (as two containers do).")
    ] = "all",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for scripts.")
    ] = False,
) -> None:
    """Start Triton and the gateway; Ctrl-C stops them.

    Everything is a setting in the environment, for example:

        OVSEG_PORT=9000 OVSEG_MODEL=sam_vit_b ovseg serve

    `ovseg config` lists all settings. The exit code is 0 after Ctrl-C or SIGTERM, 128 + the
    signal's number after a second one, which does not wait for requests under way, and 1, with one
    line that says why, when a process could not be started, or be kept running.

    With --json each line of standard output is an object: {"event": "message", "message": …} of
    what happens, {"event": "ready", "seconds": …, "model": …, "encoder": …, "addresses": …} once
    requests are answered, and at the end {"event": "stopped"} or {"event": "error", "message": …}.
    """
    settings = get_settings()
    screen = choose_screen(as_json)
    error = ""
    code = 1
    try:
        code = _serve(settings, part, screen)
    except (ServerStartError, ModelNotInstalledError, CheckpointError, EngineError) as failure:
        error = _with_advice(failure)
    finally:
        screen.end(error)
    raise typer.Exit(code)


def _serve(settings: Settings, part: Part, screen: Screen) -> int:
    if part != "triton":
        check_tls(settings)  # Before anything slow.
    manifest, engines = None, None
    if part != "gateway":
        if settings.model == BUNDLED_MODEL:
            install_bundled_model(settings.model_dir, say=screen.say)
        manifest = ModelManifest.load(settings.model_folder)
        engines = engines_meanwhile(manifest, settings)

    def announce(seconds: float) -> None:
        status = Status(
            seconds,
            addresses_of(settings, part),
            manifest,
            tuple(settings.further_models),
            engines() if engines else {},
            settings.threads,
        )
        screen.announce(status, curl_example(settings) if part == "all" else "")

    return run_server(settings, part, screen.say, announce)


def _with_advice(failure: Exception) -> str:
    """What went wrong, and what to do next where the message does not say it."""
    told = str(failure)
    if "EngineError: " in told and "again" not in told:
        told += "; `ovseg models --verify` says which of its files are damaged; import it again"
    return told
