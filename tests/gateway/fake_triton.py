"""A stand-in for `tritonclient.grpc.aio.InferenceServerClient`: remembers calls, plays answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

PICTURE = b"\xff\xd8 a picture \xff\xd9"
SIZE = (4, 6)

_DTYPES = {"FP32": np.float32, "INT32": np.int32}


@dataclass(frozen=True)
class Call:
    """One inference request, its tensors decoded."""

    model_name: str
    tensors: dict[str, Any]
    outputs: list[str]
    options: dict[str, Any]


@dataclass
class FakeTriton:
    """Answers each row with a mask text of its own, unless told to fail or to wait."""

    calls: list[Call] = field(default_factory=list)
    failure: InferenceServerException | Exception | None = None
    ready: bool = True
    score: float = 0.5
    delay_s: float = 0.0

    def reset(self) -> None:
        """Forget calls and orders."""
        self.__dict__.update(FakeTriton().__dict__)

    def fail(self, status: str, message: str) -> None:
        """Make inferences fail as gRPC does."""
        self.failure = InferenceServerException(message, status=f"StatusCode.{status}")

    @property
    def last(self) -> Call:
        """The latest inference request."""
        return self.calls[-1]

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> FakeResult:
        outputs = [output.name() for output in options.pop("outputs")]
        tensors = {tensor.name(): _decode(tensor) for tensor in inputs}
        self.calls.append(Call(model_name, tensors, outputs, options))
        await asyncio.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure
        n = len(tensors["point_coords"])
        counts = np.array([f"mask{i}".encode() for i in range(n)], dtype=np.object_)
        return FakeResult(
            {
                "counts": counts.reshape(n, 1),
                "size": np.array(SIZE, np.int32),
                "scores": np.full((n, 1), self.score, np.float32),
                "overlay": np.array([PICTURE], dtype=np.object_),
            },
            outputs,
        )

    async def is_server_ready(self, *, client_timeout: float | None = None) -> bool:
        return self.ready

    async def is_model_ready(self, model_name: str, *, client_timeout: float | None = None) -> bool:
        return self.ready

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class FakeResult:
    """Holds only the outputs that were asked for, as Triton does."""

    tensors: dict[str, Any]
    outputs: list[str]

    def as_numpy(self, name: str) -> Any:
        return self.tensors[name] if name in self.outputs else None


def _decode(tensor: Any) -> Any:
    raw, shape = tensor._get_content() or b"", tensor.shape()
    if tensor.datatype() == "BYTES":
        return deserialize_bytes_tensor(raw).reshape(shape)
    return np.frombuffer(raw, _DTYPES[tensor.datatype()]).reshape(shape)
