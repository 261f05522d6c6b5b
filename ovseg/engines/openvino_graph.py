"""Changes to an OpenVINO model before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

# Matrices with fewer elements stay as they are: they cost nothing, and are often sensitive.
SMALLEST_COMPRESSED = 4096


def fix_rows(model: Any, rows: Mapping[str, int]) -> dict[str, int]:
    """Make inputs that take any number of rows take a certain one: less time, and less memory.

    With shapes that are known, OpenVINO plans the memory of a run once, packs all weights while it
    loads, and makes constants of what depends on shapes alone (padding, codes of positions). These
    are large, and the same in many layers, which OpenVINO does not see: here they become one.

    Args:
        model: an `openvino.Model`; changed in place.
        rows: the length of the first axis of inputs, by their names. What the model does not have,
            or has with a certain length, is left alone.

    Returns:
        The inputs that were changed.
    """
    from openvino.passes import ConstantFolding, Manager

    inputs = {tensor.node.friendly_name: tensor for tensor in model.inputs}
    fixed = {
        name: count
        for name, count in rows.items()
        if name in inputs and inputs[name].get_partial_shape()[0].is_dynamic
    }
    if not fixed:
        return {}
    shapes = {}
    for name, count in fixed.items():
        shapes[inputs[name]] = inputs[name].get_partial_shape()
        shapes[inputs[name]][0] = count
    model.reshape(shapes)
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
    return fixed


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
