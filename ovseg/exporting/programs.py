"""Formats that hold an installed model's programs one by one: Paddle, ONNX, OpenVINO."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovseg.exporting.errors import ExportError
from ovseg.manifest import ModelManifest

ONNX_OPSET = 17

OUTPUT_NAMES = {
    "encoder": ("embedding",),
    "prompt_decoder": ("low_res_masks", "iou_predictions"),
    "box": ("low_res_masks",),
    "point": ("low_res_masks",),
}

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
    shutil.copytree(program, target)


def write_onnx(program: Path, target: Path) -> None:
    """`<target>.onnx`, float32."""
    try:
        import onnx
        import paddle2onnx
    except ImportError:
        raise ExportError("ONNX needs an optional part: pip install 'ovseg[export]'") from None
    try:
        paddle2onnx.export(
            str(program / "inference.json"),
            str(program / "inference.pdiparams"),
            str(target.with_suffix(".onnx")),
            opset_version=ONNX_OPSET,
            # Engines fold constants themselves; its own way installs packages while it runs.
            optimize_tool=None,
        )
    except Exception as error:  # it raises C++ exceptions, and UnboundLocalError after a failure
        raise ExportError(f"paddle2onnx cannot convert {program}: {error}") from None
    model = onnx.load(target.with_suffix(".onnx"))
    _rename_outputs(model.graph, OUTPUT_NAMES[program.name])
    onnx.save(model, target.with_suffix(".onnx"))


def _rename_outputs(graph: Any, names: tuple[str, ...]) -> None:
    """Give an ONNX graph's outputs the names that we use; Paddle's are `fetch_name_0`, …"""
    renamed = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [renamed.get(name, name) for name in tensors]


def write_openvino(program: Path, target: Path) -> None:
    """`<target>.xml` and `.bin`, float32; OpenVINO does not read Paddle's programs, but ONNX."""
    try:
        import openvino
    except ImportError:
        raise ExportError("this needs OpenVINO: pip install 'ovseg[export]'") from None
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "program"
        write_onnx(program, onnx_file)
        model = openvino.Core().read_model(onnx_file.with_suffix(".onnx"))
        openvino.save_model(model, target.with_suffix(".xml"), compress_to_fp16=False)
