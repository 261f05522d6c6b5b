"""Inference engines: one interface, chosen by the setting `OVSEG_ENGINE`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg.settings import Settings

Array = NDArray[np.generic]


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


def open_engine(program_folder: Path, settings: Settings) -> Engine:
    """Load a serving artefact with the engine that the settings choose.

    Args:
        program_folder: folder of one program, `inference.json` and `inference.pdiparams` in it.
        settings: `engine` and `threads` are used.

    Raises:
        EngineError: a file is missing or damaged.
    """
    # The one engine of this version; `auto` will choose between several.
    from ovseg.engines.paddle_inference import PaddleEngine

    return PaddleEngine(program_folder, threads=settings.threads)
