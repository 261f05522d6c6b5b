"""An ONNX graph in float16 where that is harmless, and in float32 where it is not.

TensorRT 11 has strongly typed networks only: what a layer computes in is what the graph says, and
builder flags and per-layer precisions are gone. With TensorRT 10 such networks are on request. So
the graph says it, and onnxruntime, which reads the same graph, can show what it does to masks
without a GPU.

Float16 begins at the first matrix product or convolution and goes on behind it. Before it, pixels
are normalised, once an image. Softmax and layer normalisation stay in float32: their sums and
exponentials are where vision transformers lose masks, and TensorRT's fused attention, which a
float32 softmax keeps it from, has been silently wrong for such a model (NVIDIA/TensorRT, issue
4837). So does whatever is not known here to be safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operations that float16 is for."""
HALF_OPERATIONS = PRODUCTS | {
    # Pointwise, on values of the size of activations.
    *("Add", "Clip", "Div", "Erf", "Mul", "Relu", "Sigmoid", "Sub", "Tanh"),
    # These only move numbers.
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split"),
    *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
}
"""Operations that compute in float16 behind the first product; all others stay in float32."""

_HALF_SUFFIX, _SINGLE_SUFFIX = ".fp16", ".fp32"


class _Types:
    """Which tensors of a graph are float32, and what they are called in float16."""

    def __init__(self, model: Any) -> None:
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._single = {
            value.name
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        } | {
            tensor.name
            for tensor in model.graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT
        }

    def is_single(self, name: str) -> bool:
        """Whether a tensor of the graph is float32."""
        return name in self._single


def to_mixed_precision(model: Any) -> int:
    """Rewrite a float32 graph; its inputs and outputs keep their names and types.

    Args:
        model: an `onnx.ModelProto` with its weights in it; changed in place.

    Returns:
        The number of operations that compute in float16.
    """
    types = _Types(model)
    rewrite = _Rewrite(model.graph, types)
    behind = _behind_a_product(model.graph)
    for node in list(model.graph.node):
        is_half = node.op_type in HALF_OPERATIONS and any(name in behind for name in node.output)
        rewrite.add(node, is_half and any(types.is_single(name) for name in node.output))
    return rewrite.finish()


def _behind_a_product(graph: Any) -> set[str]:
    """The tensors that a matrix product or a convolution made, or had a part in."""
    behind: set[str] = set()
    for node in graph.node:  # ONNX has them in an order in which they can run.
        if node.op_type in PRODUCTS or any(name in behind for name in node.input):
            behind.update(node.output)
    return behind


class _Rewrite:
    """Builds the new list of nodes, with casts where float16 meets float32."""

    def __init__(self, graph: Any, types: _Types) -> None:
        self._graph = graph
        self._types = types
        self._weights = {tensor.name: tensor for tensor in graph.initializer} | _constants(graph)
        self._nodes: list[Any] = []
        self._available: dict[str, set[str]] = {}
        """For a float32 tensor of the old graph: which of the two forms exist."""
        self._half_count = 0

    def add(self, node: Any, is_half: bool) -> None:
        """Take a node over; its inputs are cast to what it computes in."""
        suffix = _HALF_SUFFIX if is_half else _SINGLE_SUFFIX
        for index, name in enumerate(node.input):
            if name and self._types.is_single(name):
                node.input[index] = self._in_form(name, suffix)
        for index, name in enumerate(node.output):
            if name and self._types.is_single(name):
                self._available[name] = {suffix}
                node.output[index] = name + _HALF_SUFFIX if is_half else name
        self._nodes.append(node)
        self._half_count += is_half

    def _in_form(self, name: str, suffix: str) -> str:
        forms = self._available.setdefault(name, {_SINGLE_SUFFIX})
        wanted = name + _HALF_SUFFIX if suffix == _HALF_SUFFIX else name
        if suffix not in forms:
            forms.add(suffix)
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name], wanted))
            else:
                self._nodes.append(_cast(name, suffix))
        return wanted

    def finish(self) -> int:
        """Write the new graph; the number of its operations in float16."""
        for output in self._graph.output:
            if self._types.is_single(output.name):
                self._in_form(output.name, _SINGLE_SUFFIX)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.value_info[:]  # They say what types were.
        read = set(_inputs(self._graph))
        idle = [n for n in self._nodes if n.op_type == "Constant" and n.output[0] not in read]
        for node in idle:
            self._graph.node.remove(node)
        unread = [tensor for tensor in self._graph.initializer if tensor.name not in read]
        for tensor in unread:
            self._graph.initializer.remove(tensor)
        return self._half_count


def _constants(graph: Any) -> dict[str, Any]:
    """What constant nodes hold. A cast of one would hide from TensorRT that it is one."""
    return {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }


def _inputs(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield from node.input


def _cast(name: str, suffix: str) -> Any:
    """A node that makes one form of a tensor from the other."""
    from onnx import TensorProto, helper

    half = name + _HALF_SUFFIX
    if suffix == _HALF_SUFFIX:
        return helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16)
    return helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT)


def _half_weight(weight: Any, name: str) -> Any:
    """A weight in float16; what is too large for it becomes the largest number that is not."""
    from onnx import numpy_helper

    largest = np.finfo(np.float16).max
    values = numpy_helper.to_array(weight).clip(-largest, largest)
    return numpy_helper.from_array(values.astype(np.float16), name)
