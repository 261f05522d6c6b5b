"""OpenVINO on the CPU; it reads the program's ONNX graph and its weights where they lie."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engines import Array, EngineError, PrecisionName, first_line
from ovseg.engines.artefacts import ONNX_FILE_NAME, require_files

_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


def import_openvino() -> Any:
    """The module `openvino`, without its telemetry: importing it would report to its makers.

    Raises:
        EngineError: it is not installed.
    """
    # Every use is behind `except ImportError`, with a stub that does nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise EngineError("OpenVINO is not installed: pip install openvino") from None
    return openvino


class OpenVinoEngine:
    """A program run by OpenVINO, one request at a time, with the lowest latency."""

    def __init__(self, program_folder: Path, threads: int, precision: PrecisionName) -> None:
        """Load the program.

        Args:
            program_folder: folder with `inference.onnx` and `inference.pdiparams`.
            threads: CPU threads.
            precision: what matrix products compute in; inputs and outputs are float32 anyway.

        Raises:
            EngineError: a file is missing, or OpenVINO cannot load it.
        """
        openvino = import_openvino()
        require_files(program_folder, ONNX_FILE_NAME)
        self._name = program_folder.name
        core = openvino.Core()
        try:
            compiled = core.compile_model(
                core.read_model(program_folder / ONNX_FILE_NAME),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
                },
            )
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot load {program_folder}: {first_line(error)}"
            ) from None
        self._request = compiled.create_infer_request()
        self._inputs = frozenset(tensor.any_name for tensor in compiled.inputs)
        self._outputs = compiled.outputs

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run once; see `Engine.run`."""
        if inputs.keys() != self._inputs:
            raise EngineError(
                f"{self._name} takes {sorted(self._inputs)}, but was given {sorted(inputs)}"
            )
        try:
            # Inputs are read where they lie; outputs are copied out of the request's memory,
            # which the next run overwrites.
            results = self._request.infer(
                {name: np.ascontiguousarray(array) for name, array in inputs.items()},
                share_inputs=True,
            )
        except (RuntimeError, TypeError) as error:
            raise EngineError(f"OpenVINO cannot run {self._name}: {first_line(error)}") from None
        return tuple(results[output] for output in self._outputs)
