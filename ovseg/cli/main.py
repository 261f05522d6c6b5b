"""`ovseg`: the sub-commands, and how their errors are shown."""

from __future__ import annotations

import os
import sys
import warnings

import pydantic
import typer

from ovseg.cli import (
    bench_command,
    build_engine_command,
    check_command,
    config_command,
    export_command,
    fetch_command,
    import_command,
    load_commands,
    models_command,
    pipeline_command,
    predict_command,
    serve_command,
    token_command,
)
from ovseg.cli.failing import show_error

app = typer.Typer(
    name="ovseg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(pipeline_command.pipeline)
app.command("serve")(serve_command.serve)
app.command("predict")(predict_command.predict)
app.command("import")(import_command.import_model)
app.command("fetch")(fetch_command.fetch)
app.command("check")(check_command.check)
app.command("build-engine")(build_engine_command.build_engine)
app.command("models")(models_command.models)
app.command("export")(export_command.export)
app.command("load")(load_commands.load)
app.command("unload")(load_commands.unload)
app.command("token")(token_command.token)
app.command("config")(config_command.config)
app.add_typer(bench_command.bench, name="bench")


def main() -> None:
    """Entry point; a wrong `OVSEG_…` variable is one line, not a traceback."""
    # Paddle warns of what neither we nor the user can change.
    os.environ.setdefault("GLOG_minloglevel", "2")
    # As the stages have it (see `PaddleEngine`), for commands that use Paddle before an engine.
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    warnings.filterwarnings("ignore", message="No ccache found")
    try:
        app()
    except pydantic.ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            show_error(f"OVSEG_{name}: {problem['msg']}")
        sys.exit(2)
