"""OpenVINO on the CPU; it reads the program's ONNX graph and its weights where they lie."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engine_names import PrecisionName
from ovseg.engines import Array, EngineError, first_line
from ovseg.engines.artefacts import ONNX_FILE_NAME, PARAMETERS_FILE_NAME, require_files
from ovseg.engines.mapped_files import release_freed_memory, release_pages, releasing_pages
from ovseg.engines.openvino_graph import compress_weights, fix_rows

ROWS: dict[str, dict[str, int]] = {
    "encoder": {"pixels": 1, "input_size": 1},
    "prompt_decoder": {"point_coords": 1, "point_labels": 1},
}
"""By program and input: how many images or prompts it is compiled for. A run of more is several:
no slower, while one of any number is, and takes more memory."""


def import_openvino() -> Any:
    """The module `openvino`, without what it can do without.

    Its telemetry would report to its makers, and its model converter, which nothing here uses,
    takes half of the time of the import.

    Raises:
        EngineError: it is not installed.
    """
    # Every use is behind `except ImportError`, with a stub that does nothing.
    for part in ("openvino_telemetry", "openvino.tools.ovc"):
        sys.modules.setdefault(part, None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise EngineError("OpenVINO is not installed: pip install openvino") from None
    return openvino


@functools.cache
def openvino_core() -> Any:
    """The process's one `openvino.Core`.

    A core's CPU plugin gives its thread another stack for signal handlers, with room for AMX's
    registers, and puts the one before it back when it goes. Of two cores that do not go in the
    reverse order of their coming, the later puts back one that is no longer mapped, and the next
    signal (Ctrl-C) kills the process with SIGSEGV. The only core never goes.

    Raises:
        EngineError: OpenVINO is not installed.
    """
    return import_openvino().Core()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices (AVX512_BF16 or AMX)."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def lowest_latency(threads: int, is_bf16: bool) -> dict[str, Any]:
    """OpenVINO's settings for one request at a time, in bfloat16 or float32."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32",
    }


class OpenVinoEngine:
    """A program run by OpenVINO, one request at a time, with the lowest latency."""

    def __init__(
        self,
        program_folder: Path,
        threads: int,
        precision: PrecisionName,
        rows: Mapping[str, int] | None = None,
        shares_outputs: bool = False,
    ) -> None:
        """Load the program.

        Args:
            program_folder: folder with `inference.onnx` and `inference.pdiparams`.
            threads: CPU threads.
            precision: what matrix products compute in; inputs and outputs stay as they are.
                int8: weights, and activations as they come where the CPU has instructions for it;
                the rest in bfloat16 if it can.
            rows: how many rows to compile it for, by the names of inputs that take any number of
                them; what `ROWS` says by default.
            shares_outputs: `run` returns the engine's own memory, which its next run overwrites;
                for programs without `rows`, of which one call can be several runs.

        Raises:
            EngineError: a file is missing, or OpenVINO cannot load it.
        """
        core = openvino_core()
        require_files(program_folder, ONNX_FILE_NAME)
        self._name = program_folder.name
        self._weights = program_folder / PARAMETERS_FILE_NAME
        try:
            # OpenVINO makes copies of most large matrices, laid out for its products, and keeps
            # the file that they come from mapped. Where shapes vary it makes some in the first run.
            with releasing_pages(self._weights):
                model = core.read_model(program_folder / ONNX_FILE_NAME)
                rows = ROWS.get(self._name, {}) if rows is None else rows
                self._rows = fix_rows(model, rows)
                if precision == "int8" and not compress_weights(model):
                    raise EngineError(f"{self._name} has no large matrices to make int8")
                is_bf16 = precision == "bf16" or (precision == "int8" and cpu_has_bf16())
                compiled = core.compile_model(model, "CPU", lowest_latency(threads, is_bf16))
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot load {program_folder}: {first_line(error)}"
            ) from None
        del model
        release_freed_memory()  # Before the first run takes its own: that is the peak.
        self._has_run = False
        self._shares_outputs = shares_outputs
        self._request = compiled.create_infer_request()
        # A tensor may have further names, of what the graph makes of it without a change.
        self._inputs = frozenset(tensor.node.friendly_name for tensor in compiled.inputs)
        self._outputs = compiled.outputs

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run once; see `Engine.run`."""
        if inputs.keys() != self._inputs:
            raise EngineError(
                f"{self._name} takes {sorted(self._inputs)}, but was given {sorted(inputs)}"
            )
        if not self._rows:
            return self._run(inputs)
        counts = {len(inputs[name]) / rows for name, rows in self._rows.items()}
        if len(counts) != 1 or not min(counts).is_integer() or not min(counts):
            raise EngineError(f"{self._name} takes as many of every input, and at least one")
        parts = [self._run(self._part(inputs, number)) for number in range(int(*counts))]
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(results) for results in zip(*parts, strict=True))

    def _part(self, inputs: dict[str, Array], number: int) -> dict[str, Array]:
        """The rows of one run, and the inputs that have none."""
        return {
            name: array[number * rows : (number + 1) * rows]
            if (rows := self._rows.get(name))
            else array
            for name, array in inputs.items()
        }

    def _run(self, inputs: dict[str, Array]) -> tuple[Array, ...]:
        """Run what was compiled, once."""
        try:
            # Inputs are read where they lie; outputs lie in the request's memory, which the next
            # run overwrites.
            results = self._request.infer(
                {name: np.ascontiguousarray(array) for name, array in inputs.items()},
                share_inputs=True,
                share_outputs=self._shares_outputs,
            )
        except (RuntimeError, TypeError) as error:
            raise EngineError(f"OpenVINO cannot run {self._name}: {first_line(error)}") from None
        if not self._has_run:
            self._has_run = True
            release_pages(self._weights)
            release_freed_memory()
        return tuple(results[output] for output in self._outputs)
