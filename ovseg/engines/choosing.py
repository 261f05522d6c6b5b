"""Which engine runs a program, and how precisely: settings, the model, and its self-check.

The self-check (`ovseg/checkpoints/self_check.py`) has measured every engine and precision when the
model was installed. `auto` is the fastest one that it accepted, among those that this machine has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from ovseg.engine_names import EngineName, PrecisionName
from ovseg.engines import Engine, EngineError
from ovseg.manifest import EngineCheck, ModelManifest, ProgramPart, part_of

_LOG = logging.getLogger(__name__)

REFERENCE: tuple[EngineName, PrecisionName] = ("paddle", "fp32")
"""What the others are compared with; what runs a model that was never checked."""


class EngineSettings(Protocol):
    """What is said of engines by `Settings`, and by the `StageSettings` made of them."""

    @property
    def model_folder(self) -> Path: ...
    @property
    def engine(self) -> EngineName: ...
    @property
    def precision(self) -> PrecisionName: ...
    @property
    def decoder_precision(self) -> PrecisionName: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True)
class EngineChoice:
    """An engine and the precision of its matrix products; neither is `auto`."""

    engine: EngineName
    precision: PrecisionName

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def open_engine(program_folder: Path, settings: EngineSettings, manifest: ModelManifest) -> Engine:
    """Load a program of an installed model with the engine that is chosen for it.

    Args:
        program_folder: folder of one program; its name is the program's.
        settings: `engine`, `precision`, `decoder_precision` and `threads` are used.
        manifest: the model's.

    A TensorRT plan that nobody asked for by name and that cannot be loaded is passed over, with a
    warning.

    Raises:
        EngineError: a file is missing or damaged, or the settings ask for what was refused.
    """
    part = part_of(program_folder.name)
    choice = choose_engine(part, settings, manifest)
    is_asked_for = "tensorrt" in (settings.engine, manifest.engine)
    try:
        return load_engine(program_folder, choice, settings.threads)
    except EngineError as error:
        # A plan is of one GPU and one TensorRT, and those may be others today.
        if choice.engine != "tensorrt" or is_asked_for:
            raise
        rest = tuple(check for check in manifest.checks if check.engine != "tensorrt")
        other = choose_engine(part, settings, replace(manifest, checks=rest))
        _LOG.warning("the %s of %s runs with %s: %s", part, manifest.name, other, error)
    return load_engine(program_folder, other, settings.threads)


def load_engine(program_folder: Path, choice: EngineChoice, threads: int) -> Engine:
    """Load a program with a certain engine.

    Raises:
        EngineError: the engine is not installed; a file is missing or damaged.
    """
    return _OPENERS[choice.engine](program_folder, threads, choice.precision)


def choose_engine(
    part: ProgramPart, settings: EngineSettings, manifest: ModelManifest
) -> EngineChoice:
    """What to load a part of a model with.

    A setting that is not `auto` decides; then what the model was imported with; then the fastest
    that its self-check accepted.

    Raises:
        EngineError: what is asked for was refused by the self-check, or was not part of it.
    """
    engine = manifest.engine if settings.engine == "auto" else settings.engine
    if engine == "tensorrt" and part == "decoder":
        engine = "auto"  # There are plans of encoders only.
    precision = settings.precision if part == "encoder" else settings.decoder_precision
    if precision == "auto" and part == "encoder":
        precision = manifest.precision
    asked = [
        check
        for check in manifest.checks
        if check.part == part and engine in ("auto", check.engine) and _fits(precision, check)
    ]
    usable = [check for check in asked if check.accepted and is_available(check)]
    if usable:
        fastest = min(usable, key=lambda check: check.seconds)
        return EngineChoice(fastest.engine, fastest.precision)
    if engine == "auto" and precision in ("auto", "fp32"):
        return EngineChoice(*REFERENCE)
    if asked or precision not in ("auto", "fp32") or engine == "tensorrt":
        what = " ".join(name for name in (engine, precision) if name != "auto")
        why = next(iter(_reasons(asked)), "the self-check of its import did not try it")
        raise EngineError(f"{manifest.name} cannot run its {part} with {what}: {why}")
    return EngineChoice(engine, "fp32")


def _fits(precision: PrecisionName, check: EngineCheck) -> bool:
    # int8 changes masks the most: only for those who ask for it.
    return check.precision == precision or (precision == "auto" and check.precision != "int8")


def _reasons(checks: list[EngineCheck]) -> list[str]:
    return [
        check.reason or f"this machine has no {check.engine} with {check.precision}"
        for check in checks
    ]


def is_available(candidate: EngineCheck | EngineChoice) -> bool:
    """Whether this machine has the engine and its CPU the precision."""
    return candidate.precision in available_precisions(candidate.engine)


@cache
def available_precisions(engine: EngineName) -> tuple[PrecisionName, ...]:
    """What an engine can compute in on this machine; nothing where it is not installed."""
    if find_spec(_MODULES[engine]) is None:
        return ()
    if engine == "tensorrt":
        return ("fp32", "fp16")
    if engine != "openvino":
        return ("fp32",)
    from ovseg.engines.openvino import cpu_has_bf16

    return ("fp32", "bf16", "int8") if cpu_has_bf16() else ("fp32", "int8")


def _open_paddle(program_folder: Path, threads: int, precision: PrecisionName) -> Engine:
    from ovseg.engines.paddle_inference import PaddleEngine

    return PaddleEngine(program_folder, threads)


def _open_openvino(program_folder: Path, threads: int, precision: PrecisionName) -> Engine:
    from ovseg.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(program_folder, threads, precision)


def _open_onnxruntime(program_folder: Path, threads: int, precision: PrecisionName) -> Engine:
    from ovseg.engines.onnx_runtime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(program_folder, threads)


def _open_tensorrt(program_folder: Path, threads: int, precision: PrecisionName) -> Engine:
    from ovseg.engines.tensorrt import TensorRtEngine

    return TensorRtEngine(program_folder)


# Importing an engine takes a second or more: only the one that is used.
_OPENERS: dict[EngineName, Callable[[Path, int, PrecisionName], Engine]] = {
    "paddle": _open_paddle,
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
    "tensorrt": _open_tensorrt,
}
_MODULES: dict[EngineName, str] = {
    "paddle": "paddle",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
}
