"""How much arithmetic a program is, and how fast this machine is at most."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engines.artefacts import ONNX_FILE_NAME
from ovseg.engines.openvino import import_openvino, lowest_latency, openvino_core
from ovseg.settings import PrecisionName

GEMM_SIDE = 4096
GEMM_RUNS = 5


def count_flops(program: Path) -> float:
    """Floating point operations of an encoder program for one image, in its products alone.

    A multiplication and an addition are two operations. Softmax, norms and the like are left out:
    about one percent.

    Args:
        program: folder with `inference.onnx`.
    """
    model = openvino_core().read_model(program / ONNX_FILE_NAME)
    model.reshape(
        {
            parameter.output(0): [1, *list(parameter.partial_shape)[1:]]
            for parameter in model.get_parameters()
        }
    )
    return sum(_operations(node) for node in model.get_ops())


def _operations(node: Any) -> float:
    """Of one node of the graph."""
    kind = node.get_type_name()
    if kind == "MatMul":
        left: list[int] = list(node.input(0).get_shape())
        inner = left[-2] if node.get_attributes()["transpose_a"] else left[-1]
        return float(2 * math.prod(node.output(0).get_shape()) * inner)
    if kind in ("Convolution", "GroupConvolution"):
        weights: list[int] = list(node.input(1).get_shape())  # ([groups,] out, in, height, width)
        return float(2 * math.prod(node.output(0).get_shape()) * math.prod(weights[-3:]))
    return 0.0


def gemm_peak(precision: PrecisionName, threads: int) -> float:
    """Operations per second of a large matrix product, the best of a few runs.

    The product of two matrices of 4096 x 4096, by OpenVINO (oneDNN); one of them constant, as
    weights are. For int8 both are quantised beforehand, which is int8's best case.
    """
    openvino = import_openvino()
    from openvino import opset8

    rng = np.random.default_rng(0)
    left = opset8.parameter([GEMM_SIDE, GEMM_SIDE], np.float32, name="left")
    right: Any = opset8.constant(rng.uniform(-1, 1, (GEMM_SIDE, GEMM_SIDE)).astype(np.float32))
    source: Any = left
    if precision == "int8":
        source = opset8.fake_quantize(left, *map(np.float32, (-1, 1, -1, 1)), 256)
        right = opset8.fake_quantize(right, *map(np.float32, (-1, 1, -1, 1)), 255)
    model = openvino.Model([opset8.matmul(source, right, False, False)], [left])
    compiled = openvino_core().compile_model(
        model, "CPU", lowest_latency(threads, is_bf16=precision == "bf16")
    )
    request = compiled.create_infer_request()
    matrix = rng.uniform(-1, 1, (GEMM_SIDE, GEMM_SIDE)).astype(np.float32)
    request.infer([matrix], share_inputs=True)
    times = []
    for _ in range(GEMM_RUNS):
        started = time.perf_counter()
        request.infer([matrix], share_inputs=True)
        times.append(time.perf_counter() - started)
    return 2.0 * GEMM_SIDE**3 / min(times)
