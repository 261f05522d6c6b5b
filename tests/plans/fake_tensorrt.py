"""`tensorrt` and `cuda.bindings.runtime` without a GPU: they record what is asked of them.

A plan is the ONNX graph that it was built from, and onnxruntime runs it; the GPU's memory is this
process's. So the code under test has to move every byte to where it belongs, and what a graph in
mixed precision does to masks is real. What is not: TensorRT's kernels, and their errors.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from ovseg.checkpoints.check_samples import prompts_on
from ovseg.manifest import ModelManifest
from ovseg.stages.prompts import Prompts

MAGIC = b"plan of a fake TensorRT\n"


class DataType(IntEnum):
    FLOAT, HALF, INT32, UINT8 = range(4)


NUMPY_TYPES = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT32: np.int32,
    DataType.UINT8: np.uint8,
}
ONNX_TYPES = {"tensor(float)": 0, "tensor(float16)": 1, "tensor(int32)": 2, "tensor(uint8)": 3}


@dataclass
class Recorder:
    """What was asked for, and what is to go wrong."""

    network_flags: list[int] = field(default_factory=list)
    cleared_flags: list[str] = field(default_factory=list)
    workspace_bytes: int = 0
    profile: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    graph: Any = None
    """The `onnx.ModelProto` that was parsed."""
    batches: list[int] = field(default_factory=list)
    """Images of each run."""
    parser_error: str = ""
    cannot_build: bool = False
    cannot_load: bool = False
    wrong_from_image: int | None = None
    """The outputs of a batch are wrong from this place on."""
    memory: dict[int, Any] = field(default_factory=dict)
    """What is allocated on the "GPU", by its address."""


class Logger:
    ERROR, WARNING = "ERROR", "WARNING"

    def __init__(self, severity: str) -> None:
        assert severity in (self.ERROR, self.WARNING)


class Builder:
    recorder: Recorder

    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def create_network(self, flags: int) -> Any:
        self.recorder.network_flags.append(flags)
        return SimpleNamespace(inputs=[], num_inputs=0, get_input=None)

    def create_builder_config(self) -> Any:
        recorder = self.recorder
        return SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: setattr(recorder, "workspace_bytes", size),
            clear_flag=recorder.cleared_flags.append,
            add_optimization_profile=lambda profile: 0,
        )

    def create_optimization_profile(self) -> Any:
        profile = self.recorder.profile
        return SimpleNamespace(set_shape=lambda name, *shapes: profile.update({name: shapes}))

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if self.recorder.cannot_build:
            return None
        return MAGIC + self.recorder.graph.SerializeToString()


class OnnxParser:
    recorder: Recorder

    def __init__(self, network: Any, logger: Logger) -> None:
        self._network = network
        self.num_errors = 0

    def parse_from_file(self, path: str) -> bool:
        if self.recorder.parser_error:
            self.num_errors = 1
            return False
        model = onnx.load(path)  # With the weights beside it, as TensorRT's parser reads them.
        onnx.checker.check_model(model)
        self.recorder.graph = model
        tensors = [
            SimpleNamespace(
                name=value.name,
                shape=[d.dim_value or -1 for d in value.type.tensor_type.shape.dim],
            )
            for value in model.graph.input
        ]
        self._network.num_inputs = len(tensors)
        self._network.get_input = tensors.__getitem__
        return True

    def get_error(self, index: int) -> str:
        return self.recorder.parser_error


class Engine:
    recorder: Recorder

    def __init__(self, plan: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            plan.removeprefix(MAGIC), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        self.outputs = {tensor.name: tensor for tensor in self.session.get_outputs()}
        # TensorRT promises no order.
        self._names = [*self.outputs, *self.inputs]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name in self.inputs else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(ONNX_TYPES[(self.inputs | self.outputs)[name].type])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert index == 0
        return list(self.recorder.profile[name])

    def create_execution_context(self) -> Any:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        smallest, _, largest = self._engine.recorder.profile[name]
        self._shapes[name] = tuple(shape)
        return all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._engine.inputs:
            return self._shapes[name]
        batch = next(iter(self._shapes.values()))[0]
        return (batch, *self._engine.outputs[name].shape[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        recorder = self._engine.recorder
        inputs = {}
        for name in self._engine.inputs:
            dtype = NUMPY_TYPES[self._engine.get_tensor_dtype(name)]
            shape = self._shapes[name]
            size = prod(shape) * np.dtype(dtype).itemsize
            data = ctypes.string_at(self._addresses[name], size)
            inputs[name] = np.frombuffer(data, dtype).reshape(shape)
        recorder.batches.append(len(inputs["pixels"]))
        results: list[NDArray[Any]] = self._engine.session.run(None, inputs)
        for name, result in zip(self._engine.outputs, results, strict=True):
            if recorder.wrong_from_image is not None:
                wrong = result[recorder.wrong_from_image :]
                noise = np.random.default_rng(0).standard_normal(wrong.shape, np.float32)
                wrong += result.std() * noise
            data = np.ascontiguousarray(result)
            ctypes.memmove(self._addresses[name], data.ctypes.data, data.nbytes)
        return True


def fake_modules(recorder: Recorder) -> dict[str, Any]:
    """The modules by the names they are imported by."""
    made = {
        cls.__name__: type(cls.__name__, (cls,), {"recorder": recorder})
        for cls in (Builder, OnnxParser, Engine)
    }

    def deserialize(plan: bytes) -> Any:
        return None if recorder.cannot_load else made["Engine"](plan)

    tensorrt = ModuleType("tensorrt")
    tensorrt.__dict__.update(
        __version__="11.4.0.fake",
        __spec__=SimpleNamespace(name="tensorrt"),
        Logger=Logger,
        Builder=made["Builder"],
        OnnxParser=made["OnnxParser"],
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=deserialize),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        MemoryPoolType=SimpleNamespace(WORKSPACE="WORKSPACE"),
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        nptype=NUMPY_TYPES.__getitem__,
    )
    return {"tensorrt": tensorrt, "cuda.bindings.runtime": _fake_cuda(recorder)}


def _fake_cuda(recorder: Recorder) -> ModuleType:
    def malloc(size: int) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(size)
        address = ctypes.addressof(buffer)
        recorder.memory[address] = buffer
        return 0, address

    def free(address: int) -> tuple[int]:
        del recorder.memory[address]
        return (0,)

    def copy(target: int, source: int, size: int, kind: str, stream: int) -> tuple[int]:
        on_gpu = target if kind == "to" else source
        assert size <= len(recorder.memory[on_gpu]), "outside what was allocated"
        ctypes.memmove(target, source, size)
        return (0,)

    cuda = ModuleType("cuda.bindings.runtime")
    cuda.__dict__.update(
        cudaStreamCreate=lambda: (0, 7),
        cudaStreamDestroy=lambda stream: (0,),
        cudaStreamSynchronize=lambda stream: (0,),
        cudaMalloc=malloc,
        cudaFree=free,
        cudaMemcpyAsync=copy,
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice="to", cudaMemcpyDeviceToHost="from"),
        cudaGetDeviceProperties=lambda index: (0, SimpleNamespace(name=b"a fake GPU")),
    )
    return cuda


def install_fake(patch: pytest.MonkeyPatch) -> Recorder:
    """Put the fakes where they are imported from."""
    recorder = Recorder()
    for name, module in fake_modules(recorder).items():
        patch.setitem(sys.modules, name, module)
    return recorder


def few_prompts(photo: NDArray[np.uint8], manifest: ModelManifest) -> Prompts:
    """Every fifth of the self-check's prompts: what is judged by them is the encoder."""
    every = prompts_on(photo, manifest)
    return Prompts(every.coords[::5], every.labels[::5])
