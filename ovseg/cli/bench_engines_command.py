"""`ovseg bench engines`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_steps
from ovseg.engines import EngineError
from ovseg.manifest import ModelNotInstalledError
from ovseg.settings import PROJECT_ROOT, get_settings


def engines(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Installed models.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each engine has its turn.")] = 3,
    runs: Annotated[int, typer.Option(min=1, help="Measured runs in a turn.")] = 3,
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = (
        PROJECT_ROOT / "docs" / "benchmarks" / "engines.md"
    ),
) -> None:
    """Compare the inference engines on the image encoders of installed models.

        ovseg bench engines sam_vit_b sam_mini

    Time, arithmetic, memory and masks of every engine and precision, beside Paddle Inference as
    PaddleX sets it up.
    """
    # Imports OpenCV and more.
    from ovseg.bench.engine_table import engines_report

    try:
        with shown_steps() as tell:
            report = engines_report(models, get_settings(), rounds, runs, tell)
    except (EngineError, ModelNotInstalledError) as error:
        fail(str(error))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(report, "utf-8")
    typer.echo(report)
