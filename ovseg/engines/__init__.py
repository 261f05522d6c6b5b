"""Inference engines: one interface over Paddle Inference, OpenVINO and onnxruntime."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


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


def first_line(error: Exception) -> str:
    """The line of an engine's error that says what is wrong; they have many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Exception from "):  # OpenVINO: the places, then the cause.
        return lines[-1]
    told = [line for line in lines if "Error" in line or "error" in line]
    return (told or lines or [type(error).__name__])[0]
