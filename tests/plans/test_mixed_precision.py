"""The graph that plans are built from: float16 for products, float32 where it matters."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from ovseg.checkpoints.check_samples import photographs
from ovseg.engines import Array
from ovseg.engines.onnx_runtime import OnnxRuntimeEngine
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.exporting.mixed_precision import PRODUCTS
from ovseg.exporting.tensorrt_plan import write_plan_graph
from ovseg.stages.image import resize_longest_side

KEPT_SINGLE = {"LayerNormalization", "Softmax"}


@pytest.fixture(scope="module")
def mixed(graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The small encoder's graph in mixed precision, as it is read from the disk."""
    target = tmp_path_factory.mktemp("mixed") / "inference.onnx"
    write_plan_graph(graphs / "encoder", "fp16", target)
    return onnx.load(target)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor; inference is strict: a node of two types is an error."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_products_are_in_float16_and_what_is_delicate_is_not(mixed: onnx.ModelProto) -> None:
    types = types_of(mixed)
    found: dict[str, set[int]] = defaultdict(set)
    for node in mixed.graph.node:
        found[node.op_type] |= {types[name] for name in (*node.input, *node.output) if name}
    for name in PRODUCTS & found.keys():
        assert found[name] == {TensorProto.FLOAT16}, name
    assert found.keys() >= {"Conv", "MatMul", *KEPT_SINGLE}, "or nothing was tested"
    for name in KEPT_SINGLE:
        assert found[name] == {TensorProto.FLOAT}, name
    # Pixels are normalised before the first product, in float32.
    assert found["Sub"] == {TensorProto.FLOAT}


def test_inputs_and_outputs_stay_and_share_their_batch(mixed: onnx.ModelProto) -> None:
    tensors = {tensor.name: tensor for tensor in (*mixed.graph.input, *mixed.graph.output)}
    types = {name: tensor.type.tensor_type.elem_type for name, tensor in tensors.items()}
    assert types == {
        "pixels": TensorProto.UINT8,
        "input_size": TensorProto.INT32,
        "embedding": TensorProto.FLOAT,
    }
    batches = {tensor.type.tensor_type.shape.dim[0].dim_param for tensor in tensors.values()}
    assert batches == {"batch"}


def test_no_weight_is_there_twice(mixed: onnx.ModelProto) -> None:
    """Each is stored in the precision that it is used in; a plan of ViT-H would not fit else."""
    read = {name for node in mixed.graph.node for name in node.input}
    weights = {tensor.name for tensor in mixed.graph.initializer}
    assert weights <= read
    names = [name.removesuffix(".fp16") for name in weights]
    assert len(names) == len(set(names))


def test_constants_stay_constants(mixed: onnx.ModelProto) -> None:
    """TensorRT wants to know some of them when it reads the graph."""
    made = {name: node.op_type for node in mixed.graph.node for name in node.output}
    casts = [node.input[0] for node in mixed.graph.node if node.op_type == "Cast"]
    assert casts and not [name for name in casts if made.get(name) == "Constant"]


def batch_of(size: int, side: int) -> dict[str, Array]:
    photos = list(photographs())
    resized = [resize_longest_side(photos[i % len(photos)], side) for i in range(size)]
    return {
        "pixels": np.stack([pixels for pixels, _ in resized]),
        "input_size": np.array([input_size for _, input_size in resized], np.int32),
    }


def test_the_exported_graph_is_paddles_program_for_every_batch(graphs: Path) -> None:
    """Float32, batches of 1 to 4: what plans are built from computes what the reference does."""
    onnxruntime = OnnxRuntimeEngine(graphs / "encoder", threads=1)
    paddle = PaddleEngine(graphs / "encoder", threads=1)
    for size in range(1, 5):
        inputs = batch_of(size, 256)
        (found,), (expected,) = onnxruntime.run(**inputs), paddle.run(**inputs)
        assert found.shape == expected.shape == (size, 64, 64, 32)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        if size > 1:
            assert np.abs(expected[0] - expected[1]).max() > 0.1, "the photographs differ"
