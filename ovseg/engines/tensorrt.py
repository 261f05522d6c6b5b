"""TensorRT on an NVIDIA GPU: it runs a program's plan, which `ovseg build-engine` has made.

Arrays come and go through the host's memory, so to the stages it is an engine like the others, and
Triton's response cache, which holds only what is in the host's memory, works as with them.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.engines import Array, EngineError, first_line
from ovseg.engines.plans import PlanDescription, plan_file


def import_tensorrt() -> Any:
    """The module `tensorrt`.

    Raises:
        EngineError: it is not installed, or its libraries are not.
    """
    try:
        return import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise EngineError(
            f"TensorRT is not installed ({first_line(error)}): pip install tensorrt cuda-bindings, "
            "or use NVIDIA's image of it"
        ) from None


def import_cuda() -> Any:
    """The module `cuda.bindings.runtime`.

    Raises:
        EngineError: it is not installed.
    """
    try:
        return import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise EngineError(
            f"CUDA's bindings are not installed ({first_line(error)}): pip install cuda-bindings"
        ) from None


class Cuda:
    """What an engine needs of CUDA's runtime; its errors are exceptions."""

    def __init__(self) -> None:
        self._runtime = import_cuda()
        self.stream: int = int(self._call("cudaStreamCreate"))

    def allocate(self, size_bytes: int) -> int:
        """Address of new memory on the GPU."""
        return int(self._call("cudaMalloc", size_bytes))

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cudaFree", address)

    def close(self) -> None:
        """Give the stream back."""
        self._call("cudaStreamDestroy", self.stream)

    def to_gpu(self, address: int, array: Array) -> None:
        """Copy an array to the GPU, in the stream's order."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def from_gpu(self, array: Array, address: int) -> None:
        """Copy into an array, in the stream's order."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def gpu_name(self) -> str:
        """What the first GPU is called."""
        name = self._call("cudaGetDeviceProperties", 0).name
        return name.decode() if isinstance(name, bytes) else str(name)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            raise EngineError(f"{name} failed: {getattr(status, 'name', status)}")
        return results[0] if results else None


class _Tensor:
    """An input or output of a plan: memory on the GPU for its largest shape."""

    def __init__(self, name: str, dtype: Any, largest: tuple[int, ...], cuda: Cuda) -> None:
        self.name = name
        self.dtype = np.dtype(dtype)
        self.largest = largest
        self.address = cuda.allocate(prod(largest) * self.dtype.itemsize)


class TensorRtEngine:
    """A plan run by TensorRT, one request at a time."""

    def __init__(self, program_folder: Path) -> None:
        """Load the plan of a program.

        Args:
            program_folder: folder with `tensorrt/model.plan`.

        Raises:
            EngineError: there is no plan, TensorRT or GPU; or the plan is of another one.
        """
        description = PlanDescription.load(program_folder)
        plan = _read_plan(program_folder, description)
        self._name = program_folder.name
        self._allocated: list[int] = []
        trt = import_tensorrt()
        self._cuda = Cuda()
        self._logger = trt.Logger(trt.Logger.ERROR)
        # Both are kept: TensorRT's objects need the ones that made them.
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"TensorRT {trt.__version__} cannot load {plan_file(program_folder)}, which was "
                f"built by TensorRT {description.tensorrt} for {description.gpu}: build it again"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"the GPU has no room for {plan_file(program_folder)}")
        self._max_batch = description.max_batch
        self._inputs: dict[str, _Tensor] = {}
        self._outputs: list[_Tensor] = []
        self._allocate(trt)

    def _allocate(self, trt: Any) -> None:
        """Memory for the largest batch; an output's shape follows from those of the inputs."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = {
            name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names
        }
        for name in (name for name in names if is_input[name]):
            _, _, largest = self._engine.get_tensor_profile_shape(name, 0)
            self._context.set_input_shape(name, tuple(largest))
            self._inputs[name] = self._new_tensor(trt, name, tuple(largest))
        for name in (name for name in names if not is_input[name]):
            largest = tuple(self._context.get_tensor_shape(name))
            self._outputs.append(self._new_tensor(trt, name, largest))
        for tensor in (*self._inputs.values(), *self._outputs):
            self._context.set_tensor_address(tensor.name, tensor.address)

    def _new_tensor(self, trt: Any, name: str, largest: tuple[int, ...]) -> _Tensor:
        dtype = trt.nptype(self._engine.get_tensor_dtype(name))
        tensor = _Tensor(name, dtype, largest, self._cuda)
        self._allocated.append(tensor.address)
        return tensor

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        """Run, see `Engine.run`; more images than a batch may have are several batches."""
        if inputs.keys() != self._inputs.keys():
            raise EngineError(
                f"{self._name} takes {sorted(self._inputs)}, but was given {sorted(inputs)}"
            )
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        batch = self._check(arrays)
        pieces = [
            self._run_batch({name: a[at : at + self._max_batch] for name, a in arrays.items()})
            for at in range(0, batch, self._max_batch)
        ]
        return tuple(np.concatenate(outputs) for outputs in zip(*pieces, strict=True))

    def _check(self, arrays: dict[str, Array]) -> int:
        """The number of images; what does not fit must not come near the GPU's memory."""
        batches = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
        for name, array in arrays.items():
            tensor = self._inputs[name]
            if array.dtype != tensor.dtype or array.shape[1:] != tensor.largest[1:]:
                raise EngineError(
                    f"{self._name} takes {name} as {tensor.dtype} [B, "
                    f"{', '.join(map(str, tensor.largest[1:]))}], but was given {array.dtype} "
                    f"{list(array.shape)}"
                )
        if len(batches) != 1 or 0 in batches:
            raise EngineError(f"{self._name} was given batches of {sorted(batches)}")
        return batches.pop()

    def _run_batch(self, arrays: dict[str, Array]) -> tuple[Array, ...]:
        for name, array in arrays.items():
            if not self._context.set_input_shape(name, array.shape):
                raise EngineError(f"the plan of {self._name} refuses {name} {list(array.shape)}")
            self._cuda.to_gpu(self._inputs[name].address, array)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineError(f"TensorRT cannot run {self._name}")
        results = [
            np.empty(tuple(self._context.get_tensor_shape(tensor.name)), tensor.dtype)
            for tensor in self._outputs
        ]
        for array, tensor in zip(results, self._outputs, strict=True):
            self._cuda.from_gpu(array, tensor.address)
        self._cuda.wait()
        return tuple(results)

    def __del__(self) -> None:
        """Give the GPU's memory back: a self-check has several engines after one another."""
        if not hasattr(self, "_cuda"):
            return
        self._context = self._engine = None
        for address in self._allocated:
            self._cuda.free(address)
        self._cuda.close()


def _read_plan(program_folder: Path, description: PlanDescription) -> bytes:
    """A plan as it was built. TensorRT trusts what it is given: it must be complete."""
    try:
        plan = plan_file(program_folder).read_bytes()
    except OSError as error:
        raise EngineError(f"{plan_file(program_folder)} cannot be read: {error.strerror}") from None
    if hashlib.sha256(plan).hexdigest() != description.sha256:
        raise EngineError(f"{plan_file(program_folder)} is damaged: build it again")
    return plan
