"""Give an installed model a TensorRT plan: built, compared with the reference, then installed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from ovseg.checkpoints.installing import replace_folder
from ovseg.checkpoints.self_check import check_encoder
from ovseg.engines import EngineError
from ovseg.engines.choosing import EngineChoice
from ovseg.engines.plans import PLAN_FOLDER_NAME
from ovseg.exporting.errors import ExportError
from ovseg.exporting.tensorrt_plan import PlanRequest, build_plan
from ovseg.manifest import EngineCheck, ModelManifest
from ovseg.settings import Settings


def install_plan(
    model_folder: Path,
    settings: Settings,
    request: PlanRequest,
    tell: Callable[[str], None] = lambda _line: None,
) -> EngineCheck:
    """Build the plan of a model's encoder, and install it if its masks are the reference's.

    TensorRT has built plans that are silently wrong: a plan is installed only after it has encoded
    photographs, alone and in the largest batch, and every mask met the self-check's bar.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        settings: `threads` is used.
        request: what to build it for.
        tell: called with a line for people at each step.

    Returns:
        What the check found; it is in the model's manifest too.

    Raises:
        ModelNotInstalledError: there is no model there.
        ExportError: there is no TensorRT or GPU, or the plan cannot be built, or was refused. The
            model stays as it was, with the plan that it may have had before.
    """
    manifest = ModelManifest.load(model_folder)
    if manifest.kind != "split":
        raise ExportError(
            f"{manifest.name} is one of PaddleX's inference models ({manifest.kind}): there are "
            "plans for models of checkpoints only"
        )
    choice = EngineChoice("tensorrt", request.precision)
    with tempfile.TemporaryDirectory(
        prefix=f".{model_folder.name}-", dir=model_folder.parent
    ) as workspace:
        trial = Path(workspace) / model_folder.name
        plan_folder = _copy_of_links(model_folder, manifest, trial)
        tell(f"building the plan of the encoder with {choice} (this takes minutes)")
        description = build_plan(model_folder / "encoder", request, plan_folder)
        tell(f"built {description.size_bytes / 1e6:,.0f} MB for {description.gpu}")
        batches = sorted({1, request.max_batch})
        try:
            check = check_encoder(trial, settings, choice, batches, tell)
        except EngineError as error:
            raise ExportError(f"the plan cannot be checked, so it is not installed: {error}") from (
                None
            )
        if not check.accepted:
            raise ExportError(f"the plan is wrong, so it is not installed: {check.reason}")
        installed = model_folder / "encoder" / PLAN_FOLDER_NAME
        replace_folder(installed, plan_folder, retired=Path(workspace) / "replaced")
    others = tuple(other for other in manifest.checks if other.engine != "tensorrt")
    replace(manifest, checks=(*others, check)).save(model_folder)
    return check


def _copy_of_links(model_folder: Path, manifest: ModelManifest, copy: Path) -> Path:
    """A model like another, made of links, with a folder of its own for a plan; returns that."""
    plan_folder = copy / "encoder" / PLAN_FOLDER_NAME
    plan_folder.mkdir(parents=True)
    for file in (model_folder / "encoder").iterdir():
        if file.is_file():
            (copy / "encoder" / file.name).symlink_to(file.absolute())
    for program in manifest.program_names:
        if program != "encoder":
            (copy / program).symlink_to((model_folder / program).absolute())
    manifest.save(copy)
    return plan_folder
