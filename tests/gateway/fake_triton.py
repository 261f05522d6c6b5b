"""A stand-in for `tritonclient.grpc.aio.InferenceServerClient`: remembers calls, plays answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from ovseg.served_models import ENSEMBLE

PICTURE = b"\xff\xd8 a picture \xff\xd9"
SIZE = (4, 6)

_DTYPES = {"FP32": np.float32, "INT32": np.int32, "BOOL": np.bool_}


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
    inference_failure: InferenceServerException | None = None
    """Fails inferences only; `failure` fails every call."""
    ready: bool = True
    score: float = 0.5
    delay_s: float = 0.0
    served: dict[str, str] = field(default_factory=dict)
    """Prompt kinds by model name, the default first; empty: Triton does not say."""
    list_requests: int = 0
    batches: int = 3
    """After which a stream has its masks."""
    failing_batch: int | None = None
    """In which a stream fails with `stream_failure`."""
    stream_failure: str = ""
    fails_once: bool = False
    streams_open: int = 0
    readiness_routes: list[dict[str, str] | None] = field(default_factory=list)
    """Metadata of each question whether a model is ready."""

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
        if failure := self.failure or self.inference_failure:
            raise failure
        n = len(tensors["point_coords"])
        m = 3 if "multimask" in tensors else 1
        counts = np.array([f"mask{k}".encode() for k in range(n * m)], dtype=np.object_)
        logits = np.arange(n * m, dtype=np.float32).reshape(n, m, 1, 1)
        return FakeResult(
            {
                "counts": counts.reshape(n, m),
                "size": np.array(SIZE, np.int32),
                "scores": np.full((n, m), self.score, np.float32),
                "low_res_masks": np.tile(logits, (1, 1, 256, 256)),
                "overlay": np.array([PICTURE], dtype=np.object_),
            },
            outputs,
        )

    def stream_infer(self, inputs_iterator: Any, **options: Any) -> FakeStream:
        return FakeStream(self, inputs_iterator, options)

    async def get_inference_statistics(self, *, client_timeout: float | None = None) -> Any:
        self.list_requests += 1
        if self.failure is not None:
            raise self.failure
        names = ["sam_encoder", *(self._ensemble(name) for name in self.served)]
        return SimpleNamespace(model_stats=[SimpleNamespace(name=name) for name in names])

    async def get_model_config(
        self, model_name: str, *, client_timeout: float | None = None
    ) -> Any:
        config = ModelConfig(name=model_name)
        for name, kinds in self.served.items():
            if self._ensemble(name) == model_name:
                config.parameters["model"].string_value = name
                config.parameters["prompt_kinds"].string_value = kinds
        return SimpleNamespace(config=config)

    def _ensemble(self, name: str) -> str:
        default = next(iter(self.served))
        return ENSEMBLE if name == default else f"{ENSEMBLE}.{name}"

    async def is_model_ready(
        self,
        model_name: str,
        *,
        headers: dict[str, str] | None = None,
        client_timeout: float | None = None,
    ) -> bool:
        self.readiness_routes.append(headers)
        return self.ready

    async def close(self) -> None:
        pass


class FakeStream:
    """What everything is answered with: progress in sixteens of points, then two masks."""

    def __init__(self, triton: FakeTriton, requests: Any, options: dict[str, Any]) -> None:
        self._triton = triton
        self._requests = requests
        self._options = options
        self._answers = self._answer()

    def __aiter__(self) -> AsyncIterator[tuple[Any, Any]]:
        return self._answers

    def cancel(self) -> None:
        self._triton.streams_open -= 1

    async def _answer(self) -> AsyncIterator[tuple[Any, Any]]:
        triton = self._triton
        triton.streams_open += 1
        async for request in self._requests:
            tensors = {tensor.name(): _decode(tensor) for tensor in request["inputs"]}
            outputs = [output.name() for output in request["outputs"]]
            options = {**self._options, "timeout": request["timeout"]}
            triton.calls.append(Call(request["model_name"], tensors, outputs, options))
        for batch in range(triton.batches + 1):
            await asyncio.sleep(triton.delay_s)
            if triton.failing_batch == batch:
                if triton.fails_once:
                    triton.failing_batch = None
                yield None, InferenceServerException(triton.stream_failure)
                return
            progress = np.array([16 * batch, 16 * triton.batches], np.int32)
            yield FakeResult({"progress": progress}, outputs), None
        masks = {
            "counts": np.array([b"mask0", b"mask1"], dtype=np.object_),
            "size": np.array(SIZE, np.int32),
            "scores": np.array([0.9375, 0.875], np.float32),
            "stability_scores": np.array([0.96875, np.nan], np.float32),
            "areas": np.array([7, 0], np.int32),
            "boxes": np.array([[0, 1, 2, 3], [0, 0, 0, 0]], np.int32),
            "points": np.array([[1.5, 2], [4.5, 2]], np.float32),
            "crop_boxes": np.array([[0, 0, 6, 4]] * 2, np.int32),
            "overlay": np.array([PICTURE], dtype=np.object_),
        }
        yield FakeResult(masks, outputs), None


@dataclass(frozen=True)
class FakeResult:
    """Holds only the outputs that were asked for, as Triton does."""

    tensors: dict[str, Any]
    outputs: list[str]

    def as_numpy(self, name: str) -> Any:
        return self.tensors.get(name) if name in self.outputs else None


def _decode(tensor: Any) -> Any:
    raw, shape = tensor._get_content() or b"", tensor.shape()
    if tensor.datatype() == "BYTES":
        return deserialize_bytes_tensor(raw).reshape(shape)
    return np.frombuffer(raw, _DTYPES[tensor.datatype()]).reshape(shape)
