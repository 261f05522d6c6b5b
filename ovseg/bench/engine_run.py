"""One engine in a process of its own: `python -m ovseg.bench.engine_run`.

Only so is the peak of the process's memory that of the engine. Writes JSON to standard output, and
the embedding to a file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engines import Array, Engine
from ovseg.engines.artefacts import PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME
from ovseg.engines.choosing import EngineChoice, load_engine

PEER = "peer"
"""Paddle Inference as PaddleX 3.7.2 sets it up (its PaddleStaticRunner), a name beside engines."""


class PeerEngine:
    """The encoder program with the peer's settings."""

    def __init__(self, program_folder: Path, threads: int) -> None:
        from paddle import inference

        config = inference.Config(
            str(program_folder / PROGRAM_FILE_NAME), str(program_folder / PARAMETERS_FILE_NAME)
        )
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_new_ir(True)
        config.enable_new_executor()
        config.set_optimization_level(3)
        config.set_cpu_math_library_num_threads(threads)
        config.enable_memory_optim()
        self._predictor: Any = inference.create_predictor(config)

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """See `Engine.run`."""
        for name, array in inputs.items():
            self._predictor.get_input_handle(name).copy_from_cpu(array)
        self._predictor.run()
        names = self._predictor.get_output_names()
        return tuple(self._predictor.get_output_handle(name).copy_to_cpu() for name in names)


def _peak_bytes() -> int:
    """Most memory that this process had resident; getrusage would count what started it too."""
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Arguments: program folder, engine, precision, threads, runs, inputs (.npz), output (.npy)."""
    folder, engine_name, precision, threads, runs, inputs_file, output_file = sys.argv[1:]
    with np.load(inputs_file) as arrays:
        inputs = dict(arrays)
    started = time.perf_counter()
    engine: Engine
    if engine_name == PEER:
        engine = PeerEngine(Path(folder), int(threads))
    else:
        choice = EngineChoice(engine_name, precision)  # type: ignore[arg-type]
        engine = load_engine(Path(folder), choice, int(threads))
    load_s = time.perf_counter() - started
    (output,) = engine.run(**inputs)
    times, cpu_times = [], []
    for _ in range(int(runs)):
        started, cpu_started = time.perf_counter(), time.process_time()
        (output,) = engine.run(**inputs)
        times.append(time.perf_counter() - started)
        cpu_times.append(time.process_time() - cpu_started)
    np.save(output_file, output)
    result = {
        "load_s": load_s,
        "times_s": times,
        "cpu_times_s": cpu_times,
        "peak_bytes": _peak_bytes(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
