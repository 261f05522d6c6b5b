"""`ovseg build-engine`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ovseg.cli.failing import fail
from ovseg.cli.progress import shown_steps
from ovseg.engines import EngineError
from ovseg.exporting.errors import ExportError
from ovseg.manifest import ModelNotInstalledError
from ovseg.settings import get_settings


class Precision(StrEnum):
    """Of matrix products."""

    FP16 = "fp16"
    FP32 = "fp32"


def build_engine(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An installed model.")],
    precision: Annotated[
        Precision, typer.Option(help="Of matrix products; softmax and normalisation are fp32.")
    ] = Precision.FP16,
    max_batch: Annotated[int, typer.Option(min=1, max=64, help="Most images at a time.")] = 8,
    optimal_batch: Annotated[
        int, typer.Option(min=1, max=64, help="Images at a time to be fastest with.")
    ] = 1,
    workspace_gb: Annotated[
        int, typer.Option(min=1, help="GPU memory for intermediate results, at most, in GiB.")
    ] = 8,
    triton_repository: Annotated[
        Path | None,
        typer.Option(help="New folder for a model repository with the encoder as tensorrt_plan."),
    ] = None,
) -> None:
    """Build a TensorRT plan of a model's image encoder, on the machine with the NVIDIA GPU.

        ovseg build-engine sam_vit_b

    The plan encodes photographs, and is installed only where its masks are those of Paddle in
    float32. Otherwise exit code 1, and the model stays as it was. A plan works with the TensorRT
    and on the kind of GPU that it was built with. The prompt decoder stays on the CPU.
    """
    # Imports OpenCV and more.
    from ovseg.checkpoints.plan_installing import install_plan
    from ovseg.exporting.tensorrt_plan import PlanRequest
    from ovseg.server.tensorrt_repository import write_tensorrt_repository

    settings = get_settings()
    try:
        if triton_repository is not None and triton_repository.exists():
            raise ExportError(f"{triton_repository} exists already")
        request = PlanRequest(precision.value, max_batch, optimal_batch, workspace_gb << 30)
        with shown_steps() as step:
            check = install_plan(settings.model_dir / name, settings, request, step)
            if triton_repository is not None:
                write_tensorrt_repository(settings, name, triton_repository)
    except (EngineError, ExportError, ModelNotInstalledError) as error:
        fail(str(error))
    typer.echo(
        f"installed a TensorRT plan of {name}: {1000 * check.seconds:,.1f} ms an image, mask IoU "
        f"{check.mean_iou:.4f} in the mean, {check.min_iou:.4f} the lowest"
    )
