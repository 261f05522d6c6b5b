"""Paddle Inference on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engines import Array, EngineError, first_line
from ovseg.engines.artefacts import PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME, require_files


class PaddleEngine:
    """A program saved by `paddle.jit.save`, run by Paddle Inference in float32."""

    def __init__(self, program_folder: Path, threads: int) -> None:
        """Load the program.

        Args:
            program_folder: folder with `inference.json` and `inference.pdiparams`.
            threads: CPU threads of its matrix products.

        Raises:
            EngineError: a file is missing, or Paddle cannot load it.
        """
        # Paddle's MKL takes its slowest path on AMD unless told that the CPU has AVX2; it looks
        # when it computes for the first time.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
        from paddle import inference

        self._name = program_folder.name
        require_files(program_folder, PROGRAM_FILE_NAME)
        config = inference.Config(
            str(program_folder / PROGRAM_FILE_NAME), str(program_folder / PARAMETERS_FILE_NAME)
        )
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        # In Paddle 3.3.1 it lets `sin` overwrite what `cos` still reads, as position encodings of
        # a fixed number of points have it; without it neither time nor memory is lost.
        config.delete_pass("inplace_pass")
        # oneDNN, on by default, costs SAM time and memory (the decoder a third more of both),
        # and crashes the process on some programs once the pass above is gone.
        config.disable_mkldnn()
        try:
            self._predictor: Any = inference.create_predictor(config)
        except Exception as error:  # Paddle raises its own C++ exceptions, RuntimeError among them.
            raise EngineError(f"Paddle cannot load {program_folder}: {first_line(error)}") from None
        self._inputs = {
            name: self._predictor.get_input_handle(name)
            for name in self._predictor.get_input_names()
        }
        self._outputs = [
            self._predictor.get_output_handle(name) for name in self._predictor.get_output_names()
        ]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the program's inputs, in its order."""
        return tuple(self._inputs)

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run once; see `Engine.run`."""
        if inputs.keys() != self._inputs.keys():
            raise EngineError(
                f"{self._name} takes {sorted(self._inputs)}, but was given {sorted(inputs)}"
            )
        try:
            for name, array in inputs.items():
                self._inputs[name].copy_from_cpu(np.ascontiguousarray(array))
            self._predictor.run()
        except Exception as error:
            raise EngineError(f"Paddle cannot run {self._name}: {first_line(error)}") from None
        return tuple(output.copy_to_cpu() for output in self._outputs)
