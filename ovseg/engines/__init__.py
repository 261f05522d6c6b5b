"""Inference engines: one interface, chosen by the setting `OVSEG_ENGINE`, else by the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg.settings import EngineName, Settings

Array = NDArray[np.generic]

FASTEST_ENGINE: EngineName = "paddle"
"""What `auto` stands for."""

PrecisionName = Literal["fp32", "bf16"]


class EngineError(Exception):
    """A serving artefact cannot be loaded or run; the message names it."""


class Engine(Protocol):
    """A loaded program: named arrays in, arrays out in the program's order."""

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run once.

        Args:
            inputs: one array for each of the program's inputs, by name, of its dtype and shape.

        Returns:
            The program's outputs; freshly allocated, safe to keep.

        Raises:
            EngineError: an input is missing, unknown, or of a wrong shape.
        """
        ...


def choose_engine(setting: EngineName, recorded: EngineName) -> EngineName:
    """The engine to load a model's programs with; never `auto`.

    Args:
        setting: what the deployment asks for, `OVSEG_ENGINE`.
        recorded: what the model was imported with; counts where the setting is `auto`.
    """
    chosen = recorded if setting == "auto" else setting
    return FASTEST_ENGINE if chosen == "auto" else chosen


def open_engine(program_folder: Path, settings: Settings, recorded: EngineName = "auto") -> Engine:
    """Load a serving artefact with the engine that the settings choose, else the model.

    Args:
        program_folder: folder of one program, `inference.json` and `inference.pdiparams` in it.
        settings: `engine` and `threads` are used.
        recorded: the engine in the model's manifest.

    Raises:
        EngineError: a file is missing or damaged.
    """
    return _OPENERS[choose_engine(settings.engine, recorded)](program_folder, settings)


def _open_with_paddle(program_folder: Path, settings: Settings) -> Engine:
    from ovseg.engines.paddle_inference import PaddleEngine  # imports this module

    return PaddleEngine(program_folder, threads=settings.threads)


def _open_with_openvino(program_folder: Path, settings: Settings) -> Engine:
    from ovseg.engines.openvino import OpenVinoEngine  # imports this module

    return OpenVinoEngine(program_folder, settings.threads, "fp32")


def first_line(error: Exception) -> str:
    """The line of an engine's error that says what is wrong; they have many."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if "Error" in line or "error" in line]
    return (told or [line for line in lines if line] or [type(error).__name__])[0]


_OPENERS: dict[EngineName, Callable[[Path, Settings], Engine]] = {
    "paddle": _open_with_paddle,
    "openvino": _open_with_openvino,
}
