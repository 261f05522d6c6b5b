"""Formats that hold an installed model's programs one by one: Paddle, ONNX, OpenVINO."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ovseg.engines.artefacts import ONNX_FILE_NAME, PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME
from ovseg.engines.openvino import import_openvino, openvino_core
from ovseg.exporting.onnx_graph import write_onnx_graph
from ovseg.manifest import ModelManifest

# A protobuf holds at most 2 GiB, of which the graph is a small part.
LARGEST_ONNX_BYTES = 2**31 - 2**24

ConvertProgram = Callable[[Path, Path], None]
"""(folder of one program, file to write without its extension)"""


def export_programs(
    model_folder: Path, convert: ConvertProgram, tell: Callable[[str], None], output: Path
) -> None:
    """Convert every program of an installed model.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        convert: one of this module's functions.
        tell: called with a line for people at each step.
        output: an existing folder.

    Raises:
        ModelNotInstalledError, ExportError: a program cannot be converted.
    """
    for name in ModelManifest.load(model_folder).program_names:
        tell(f"writing {name}")
        convert(model_folder / name, output / name)


def copy_paddle_program(program: Path, target: Path) -> None:
    """`<target>/inference.json` and `.pdiparams`, as Paddle Inference and `paddle.jit` load."""
    target.mkdir()
    for file_name in (PROGRAM_FILE_NAME, PARAMETERS_FILE_NAME):
        shutil.copyfile(program / file_name, target / file_name)


def write_onnx(program: Path, target: Path) -> None:
    """`<target>.onnx`, float32; weights beyond a protobuf's 2 GB are in `<target>.weights`."""
    with _onnx_graph(program) as graph_file:
        import onnx

        model = onnx.load(graph_file)
    is_large = (program / PARAMETERS_FILE_NAME).stat().st_size > LARGEST_ONNX_BYTES
    onnx.save(
        model,
        target.with_suffix(".onnx"),
        save_as_external_data=is_large,
        location=f"{target.name}.weights",
    )


def write_openvino(program: Path, target: Path) -> None:
    """`<target>.xml` and `.bin`, float32; OpenVINO does not read Paddle's programs, but ONNX."""
    openvino = import_openvino()
    with _onnx_graph(program) as graph_file:
        model = openvino_core().read_model(graph_file)
        openvino.save_model(model, target.with_suffix(".xml"), compress_to_fp16=False)


@contextmanager
def _onnx_graph(program: Path) -> Iterator[Path]:
    """The program's ONNX graph beside its weights; made in a temporary place if it has none."""
    if (program / ONNX_FILE_NAME).is_file():
        yield program / ONNX_FILE_NAME
        return
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        copy = Path(folder) / program.name
        shutil.copytree(program, copy, copy_function=os.link)
        write_onnx_graph(copy)
        yield copy / ONNX_FILE_NAME
