"""onnxruntime on the CPU, in float32, for machines without OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovseg.engines import Array, EngineError, first_line
from ovseg.engines.artefacts import ONNX_FILE_NAME, require_files


class OnnxRuntimeEngine:
    """A program run by onnxruntime, one request at a time."""

    def __init__(self, program_folder: Path, threads: int) -> None:
        """Load the program.

        Args:
            program_folder: folder with `inference.onnx` and `inference.pdiparams`.
            threads: CPU threads.

        Raises:
            EngineError: a file is missing, or onnxruntime cannot load it.
        """
        try:
            import onnxruntime
        except ImportError:
            raise EngineError("onnxruntime is not installed: pip install onnxruntime") from None
        require_files(program_folder, ONNX_FILE_NAME)
        self._name = program_folder.name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; it warns of weights that it does not need
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The other stages need the cores while this one has nothing to do.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Give memory back after a run: activations of a large encoder are gigabytes.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(program_folder / ONNX_FILE_NAME), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises its own, of many classes
            raise EngineError(
                f"onnxruntime cannot load {program_folder}: {first_line(error)}"
            ) from None
        self._inputs = frozenset(tensor.name for tensor in self._session.get_inputs())

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run once; see `Engine.run`."""
        if inputs.keys() != self._inputs:
            raise EngineError(
                f"{self._name} takes {sorted(self._inputs)}, but was given {sorted(inputs)}"
            )
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            return tuple(self._session.run(None, arrays, self._run_options))
        except Exception as error:  # it raises its own, of many classes
            raise EngineError(f"onnxruntime cannot run {self._name}: {first_line(error)}") from None
