"""Which engines and precisions the self-check tries on a part of an installed model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovseg.engines import EngineError
from ovseg.engines.choosing import EngineChoice, available_precisions
from ovseg.engines.plans import PlanDescription, has_plan
from ovseg.manifest import ProgramPart
from ovseg.settings import EngineName, PrecisionName


def engine_candidates(
    model_folder: Path, part: ProgramPart, precision: PrecisionName
) -> Iterator[EngineChoice]:
    """What there is to try beside the reference, the likely best first.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        part: of the model.
        precision: that was asked for; int8 is tried on an encoder if it is this.
    """
    program = model_folder / "encoder"
    if part == "encoder" and has_plan(program) and available_precisions("tensorrt"):
        yield EngineChoice("tensorrt", _plan_precision(program))
    engines: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    for engine in engines:
        for available in available_precisions(engine):
            if available != "int8" or (part == "encoder" and precision == "int8"):
                yield EngineChoice(engine, available)


def _plan_precision(program: Path) -> PrecisionName:
    try:
        return PlanDescription.load(program).precision
    except EngineError:
        return "fp16"  # Loading it will say what is wrong.
