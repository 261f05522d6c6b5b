"""Build a TensorRT plan of an installed model's image encoder."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovseg.engines import EngineError, first_line
from ovseg.engines.artefacts import ONNX_FILE_NAME, require_files
from ovseg.engines.plans import PLAN_FILE_NAME, PlanDescription
from ovseg.engines.tensorrt import Cuda, import_tensorrt
from ovseg.exporting.errors import ExportError
from ovseg.exporting.mixed_precision import to_mixed_precision

PlanPrecision = Literal["fp16", "fp32"]


@dataclass(frozen=True)
class PlanRequest:
    """What to build a plan for."""

    precision: PlanPrecision = "fp16"
    max_batch: int = 8
    optimal_batch: int = 1
    """The batch to choose the fastest kernels for."""
    workspace_bytes: int = 8 << 30
    """Of the GPU's memory, at most, for intermediate results."""

    def __post_init__(self) -> None:
        """Refuse what TensorRT would refuse with less to say."""
        if not 1 <= self.optimal_batch <= self.max_batch:
            raise ExportError(
                f"the optimal batch ({self.optimal_batch}) must be between 1 and the largest "
                f"({self.max_batch})"
            )


def build_plan(program: Path, request: PlanRequest, plan_folder: Path) -> PlanDescription:
    """Write `<plan_folder>/model.plan` and `plan.json`.

    Args:
        program: an encoder's folder, with its ONNX graph.
        request: what to build it for.
        plan_folder: an existing folder.

    Raises:
        ExportError: TensorRT or the GPU is missing, or the plan cannot be built.
    """
    try:
        require_files(program, ONNX_FILE_NAME)
        trt = import_tensorrt()
        cuda = Cuda()
    except EngineError as error:
        raise ExportError(str(error)) from None
    try:
        gpu = cuda.gpu_name()
    finally:
        cuda.close()
    with tempfile.TemporaryDirectory(dir=plan_folder) as folder:
        graph_file = Path(folder) / ONNX_FILE_NAME
        write_plan_graph(program, request.precision, graph_file)
        plan = _build(trt, graph_file, request)
    (plan_folder / PLAN_FILE_NAME).write_bytes(plan)
    description = PlanDescription(
        precision=request.precision,
        max_batch=request.max_batch,
        optimal_batch=request.optimal_batch,
        tensorrt=str(trt.__version__),
        gpu=gpu,
        size_bytes=len(plan),
        sha256=hashlib.sha256(plan).hexdigest(),
    )
    description.save(plan_folder)
    return description


def write_plan_graph(program: Path, precision: PlanPrecision, target: Path) -> None:
    """The ONNX graph that a plan is built from, with its weights in a file beside it.

    Args:
        program: a folder with `inference.onnx` and `inference.pdiparams`.
        precision: fp16 writes a graph of mixed precision, see `ovseg.exporting.mixed_precision`.
        target: file to write.

    Raises:
        ExportError: nothing in the program computes in float16.
    """
    import onnx

    model = onnx.load(program / ONNX_FILE_NAME)
    if precision == "fp16" and not to_mixed_precision(model):
        raise ExportError(f"{program.name} has nothing that computes in float16")
    _share_the_batch(model.graph)
    onnx.save(model, target, save_as_external_data=True, location=f"{target.name}.weights")


def _share_the_batch(graph: Any) -> None:
    """Give the first dimension of all inputs and outputs one name: it is the same number."""
    for tensor in (*graph.input, *graph.output):
        dimension = tensor.type.tensor_type.shape.dim[0]
        if not dimension.dim_value:
            dimension.dim_param = "batch"


def _build(trt: Any, graph_file: Path, request: PlanRequest) -> bytes:
    """The plan of a graph; the types of all tensors are those of the graph."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # TensorRT 11 has no other networks and ignores the flag; TensorRT 10 needs it.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph_file)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ExportError(f"TensorRT cannot read the encoder: {'; '.join(errors) or 'no reason'}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    # TensorRT computes float32 in TF32, with 10 bits, unless it is told not to: softmax and layer
    # normalisation have no products, and an fp32 plan has to be float32.
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        if any(side < 0 for side in rest):
            raise ExportError(f"{tensor.name} has more dimensions that vary than its batch")
        batches = (1, request.optimal_batch, request.max_batch)
        profile.set_shape(tensor.name, *((batch, *rest) for batch in batches))
    config.add_optimization_profile(profile)
    try:
        plan = builder.build_serialized_network(network, config)
    except RuntimeError as error:
        raise ExportError(f"TensorRT cannot build the plan: {first_line(error)}") from None
    if plan is None:
        raise ExportError("TensorRT cannot build the plan; its reason is above")
    return bytes(plan)
