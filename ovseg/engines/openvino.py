"""OpenVINO on the CPU; it reads the program's ONNX graph and its weights where they lie."""

from __future__ import annotations

import functools
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engine_names import PrecisionName
from ovseg.engines import Array, EngineError, first_line
from ovseg.engines.artefacts import ONNX_FILE_NAME, PARAMETERS_FILE_NAME, require_files
from ovseg.engines.mapped_files import release_pages, releasing_pages

ENCODER = "encoder"
"""The program whose inputs all have an item for each image."""

# Matrices with fewer elements stay as they are: they cost nothing, and are often sensitive.
SMALLEST_COMPRESSED = 4096


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

    def __init__(self, program_folder: Path, threads: int, precision: PrecisionName) -> None:
        """Load the program.

        Args:
            program_folder: folder with `inference.onnx` and `inference.pdiparams`.
            threads: CPU threads.
            precision: what matrix products compute in; inputs and outputs stay as they are.
                int8: weights, and activations as they come where the CPU has instructions for it;
                the rest in bfloat16 if it can.

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
                self._takes_one = self._name == ENCODER and fix_batch(model)
                if precision == "int8" and not compress_weights(model):
                    raise EngineError(f"{self._name} has no large matrices to make int8")
                is_bf16 = precision == "bf16" or (precision == "int8" and cpu_has_bf16())
                compiled = core.compile_model(model, "CPU", lowest_latency(threads, is_bf16))
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot load {program_folder}: {first_line(error)}"
            ) from None
        self._has_run = False
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
        if not self._takes_one:
            return self._run(inputs)
        lengths = {len(array) for array in inputs.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise EngineError(f"{self._name} takes as many of every input, and at least one")
        parts = (
            self._run({name: array[row : row + 1] for name, array in inputs.items()})
            for row in range(*lengths)
        )
        return tuple(
            results[0] if len(results) == 1 else np.concatenate(results)
            for results in zip(*parts, strict=True)
        )

    def _run(self, inputs: dict[str, Array]) -> tuple[Array, ...]:
        """Run what was compiled, once."""
        try:
            # Inputs are read where they lie; outputs are copied out of the request's memory,
            # which the next run overwrites.
            results = self._request.infer(
                {name: np.ascontiguousarray(array) for name, array in inputs.items()},
                share_inputs=True,
            )
        except (RuntimeError, TypeError) as error:
            raise EngineError(f"OpenVINO cannot run {self._name}: {first_line(error)}") from None
        if not self._has_run:
            self._has_run = True
            release_pages(self._weights)
        return tuple(results[output] for output in self._outputs)


def fix_batch(model: Any) -> bool:
    """Make a program that takes any number of images take one: it runs faster, in less memory.

    With shapes that are known, OpenVINO plans the memory of a run once, packs all weights while it
    loads, and makes constants of what depends on shapes alone (padding, codes of positions). These
    are large, and the same in many layers, which OpenVINO does not see: here they become one.

    Args:
        model: an `openvino.Model`; changed in place.

    Returns:
        False if the model is as it was: more than the first axis of its inputs varies, or nothing.
    """
    from openvino.passes import ConstantFolding, Manager

    shapes = [tensor.get_partial_shape() for tensor in model.inputs]
    if any(shape.rank.is_dynamic for shape in shapes) or not all(
        [axis for axis, size in enumerate(shape) if size.is_dynamic] == [0] for shape in shapes
    ):
        return False
    model.reshape(
        {
            tensor: [1, *(size.get_length() for size in list(shape)[1:])]
            for tensor, shape in zip(model.inputs, shapes, strict=True)
        }
    )
    given = {node.name for node in model.get_ops()}
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    first: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.name not in given:
            digest = sha256(node.data.tobytes()).digest()
            key = (str(node.get_element_type()), tuple(node.shape), digest)
            same = first.setdefault(key, node)
            if same is not node:
                for reader in node.output(0).get_target_inputs():
                    reader.replace_source_output(same.output(0))
    return True


def compress_weights(model: Any) -> int:
    """Make the large constant matrices of a model int8, with a scale for each output channel.

    OpenVINO computes with such weights as they are, and quantises the activations as they come.

    Args:
        model: an `openvino.Model`; changed in place.

    Returns:
        The number of matrices.
    """
    from openvino import Type, opset8

    compressed = 0
    for product in model.get_ops():
        if product.get_type_name() != "MatMul":
            continue
        weights = product.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or weights.get_element_type() != Type.f32:
            continue
        matrix = weights.data
        if matrix.ndim != 2 or matrix.size < SMALLEST_COMPRESSED:
            continue
        inputs_axis = 1 if product.get_attributes()["transpose_b"] else 0
        scale = np.abs(matrix).max(axis=inputs_axis, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        codes = opset8.constant(np.rint(matrix / scale).astype(np.int8))
        restored = opset8.multiply(opset8.convert(codes, "f32"), opset8.constant(scale))
        product.input(1).replace_source_output(restored.output(0))
        compressed += 1
    return compressed
