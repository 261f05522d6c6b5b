"""Names of the files in a program's folder."""

from __future__ import annotations

from pathlib import Path

from ovseg.engines import EngineError

PROGRAM_FILE_NAME = "inference.json"
"""The graph, as Paddle reads it (PIR)."""
PARAMETERS_FILE_NAME = "inference.pdiparams"
"""The weights, float32; the only copy, for every engine."""
ONNX_FILE_NAME = "inference.onnx"
"""The same graph for OpenVINO and onnxruntime; its weights are references into the parameters."""


def require_files(program_folder: Path, *file_names: str) -> None:
    """Make sure that a program has what an engine needs.

    Raises:
        EngineError: a file is missing; models of earlier versions have no ONNX graph.
    """
    for file_name in (*file_names, PARAMETERS_FILE_NAME):
        if not (program_folder / file_name).is_file():
            raise EngineError(f"{program_folder / file_name} is missing: import the model again")
