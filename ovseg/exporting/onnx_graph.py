"""A Paddle program as an ONNX graph that reads its weights from the program's own file.

`inference.onnx` lies beside `inference.json` and `inference.pdiparams`, and its tensors are
references into the latter (ONNX's external data): every engine that reads ONNX runs from the one
copy of the weights on the disk, and no protobuf comes near its limit of 2 GB, whatever the model.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.parameters_file import locate_parameters
from ovseg.engines.artefacts import ONNX_FILE_NAME, PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME
from ovseg.exporting.errors import ExportError
from ovseg.manifest import IMAGE_TERMS

ONNX_OPSET = 17
LONGEST_CONVERSION_S = 300.0

OUTPUT_NAMES = {
    "encoder": ("embedding",),
    "prompt_decoder": ("low_res_masks", "iou_predictions"),
    "mask_encoder": ("embedding_of_prompts",),
    "image_terms": IMAGE_TERMS,
    "terms_decoder": ("low_res_masks", "iou_predictions"),
    "box": ("low_res_masks",),
    "point": ("low_res_masks",),
}
"""What the outputs of a program are called in ONNX; Paddle's names are `fetch_name_0`, …"""

# Paddle's codes of data types (framework.proto, VarType.Type) -> names of ONNX's.
_DATA_TYPES = {
    0: "BOOL",
    1: "INT16",
    2: "INT32",
    3: "INT64",
    4: "FLOAT16",
    5: "FLOAT",
    6: "DOUBLE",
    20: "UINT8",
    21: "INT8",
    22: "BFLOAT16",
}


def write_onnx_graphs(model_folder: Path, tell: Callable[[str], None]) -> None:
    """Write the graph of every program of a model; one that cannot have it runs with Paddle.

    Args:
        model_folder: a folder whose sub-folders are programs.
        tell: called with a line for people about what could not be written.
    """
    for parameters in sorted(model_folder.glob(f"*/{PARAMETERS_FILE_NAME}")):
        try:
            write_onnx_graph(parameters.parent)
        except ExportError as error:
            tell(f"{parameters.parent.name} will run with Paddle only: {error}")


def write_onnx_graph(program: Path) -> None:
    """Write `<program>/inference.onnx`, which refers to `<program>/inference.pdiparams`.

    Raises:
        ExportError: the converter is not installed, or cannot convert the program.
    """
    try:
        import onnx
        import paddle2onnx  # noqa: F401 (the forked process finds it loaded)
    except ImportError:
        raise ExportError("there is no paddle2onnx for this version of Python") from None
    with tempfile.TemporaryDirectory() as folder:
        graph_file, log_file = Path(folder) / ONNX_FILE_NAME, Path(folder) / "log"
        # On a program that it does not understand the converter may abort its process: let that
        # be another one. A fork, since importing Paddle takes a hundred times as long as this.
        process = get_context("fork").Process(
            target=_convert, args=(program / PROGRAM_FILE_NAME, graph_file, log_file)
        )
        process.start()
        process.join(LONGEST_CONVERSION_S)
        process.kill()
        if process.exitcode != 0 or not graph_file.is_file():
            raise ExportError(f"paddle2onnx cannot convert {program}: {_reason(log_file)}")
        model = onnx.load(graph_file)
    _attach_weights(model.graph, program)
    _rename_outputs(model.graph, OUTPUT_NAMES[program.name])
    onnx.save(model, program / ONNX_FILE_NAME)


def _convert(program: Path, target: Path, log: Path) -> None:
    """Write a graph without its weights; what the converter has to say goes to a file."""
    import paddle2onnx

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    paddle2onnx.export(
        str(program),
        # Without weights it converts in no time and without its limit of 2 GB; the graph that it
        # leaves is not valid yet.
        str(program.with_suffix(".none")),
        str(target),
        opset_version=ONNX_OPSET,
        enable_onnx_checker=False,
        # Engines fold constants themselves; its own way installs packages while it runs.
        optimize_tool=None,
    )


def _reason(log: Path) -> str:
    """The line in which the converter says what is wrong."""
    text = log.read_text("utf-8", "replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "ERROR" in line or "Error" in line]
    return (told or lines or ["it says nothing"])[0]


def _attach_weights(graph: Any, program: Path) -> None:
    """Make every weight that a node reads an initializer that lies in the parameters file."""
    import onnx

    read = {name for node in graph.node for name in node.input}
    try:
        parameters = locate_parameters(program / PROGRAM_FILE_NAME, program / PARAMETERS_FILE_NAME)
    except UnreadableCheckpointError as error:
        raise ExportError(str(error)) from None
    for parameter in parameters:
        if parameter.name not in read:
            continue
        tensor = onnx.TensorProto(
            name=parameter.name,
            dims=parameter.shape,
            data_type=onnx.TensorProto.DataType.Value(_DATA_TYPES[parameter.data_type]),
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in (
            ("location", PARAMETERS_FILE_NAME),
            ("offset", parameter.offset),
            ("length", parameter.length),
        ):
            tensor.external_data.add(key=key, value=str(value))
        graph.initializer.append(tensor)


def _rename_outputs(graph: Any, names: tuple[str, ...]) -> None:
    """Give an ONNX graph's outputs the names that we use."""
    renamed = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [renamed.get(name, name) for name in tensors]
