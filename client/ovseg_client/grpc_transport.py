"""Requests straight to Triton: tensors over gRPC, without base64 and JSON."""

from __future__ import annotations

import functools
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ovseg_client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    OvsegError,
    Problem,
    error_for,
)
from ovseg_client.images import LoadedImage, fetch
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.request import PredictRequest
from ovseg_client.retrying import Deadline, with_retries
from ovseg_client.waiting import Waiting

try:
    import tritonclient.grpc as triton
    import tritonclient.grpc.aio as aio
    from tritonclient.utils import InferenceServerException
except (ImportError, RuntimeError) as missing:  # RuntimeError: tritonclient without gRPC.
    raise ImportError(
        f"grpc:// addresses need tritonclient: pip install 'ovseg-client[grpc]' ({missing})"
    ) from missing

MODEL_NAME = "open_vocabulary_segmentation"
_HTTP_STATUSES = {"NOT_FOUND": 404, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}
_RETRY_AFTER_S = 1.0
"""After UNAVAILABLE, as the gateway says; gRPC itself connects again no sooner."""
# A stage has died (what the gateway reads here too), or its model is being loaded again.
_CRASH_MESSAGE = re.compile(r"is not healthy|has no available versions")
# What Triton writes before a stage's own message.
_TRITON_PREFIX = re.compile(r"^(?:\[request id: [^\]]*\] |in ensemble '[^']*', )+")
_READY_TIMEOUT_S = 5.0


class Triton(Protocol):
    """`InferenceServerClient` of `tritonclient.grpc.aio`, or one that blocks."""

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any: ...

    async def is_model_ready(self, model_name: str, *, client_timeout: float) -> bool: ...

    async def close(self) -> None: ...


class GrpcTransport:
    """Talks to Triton at `address`, host:port."""

    def __init__(self, address: str, triton_client: Triton, waiting: Waiting, retries: int) -> None:
        self._address = address
        self._triton = triton_client
        self._waiting = waiting
        self._retries = retries

    async def predict(
        self, image: LoadedImage, request: PredictRequest, deadline: Deadline
    ) -> Prediction:
        """Send one request, with the image: Triton keeps embeddings, but no files."""
        file = image.file
        if file is None:  # Triton takes bytes only.
            file = await self._waiting.work(fetch, image.url or "", deadline.check())
            image.file = file
        inputs = request_inputs(file, request)

        async def attempt() -> Any:
            try:
                return await self._triton.infer(
                    f"{MODEL_NAME}.{request.model}" if request.model else MODEL_NAME,
                    inputs,
                    outputs=[triton.InferRequestedOutput(name) for name in output_names(request)],
                    request_id=request.log_id or "",
                    client_timeout=deadline.check(),
                )
            except InferenceServerException as error:
                raise self._error(error, request.log_id or "") from error

        result = await with_retries(attempt, self._retries, deadline, self._waiting.sleep)
        return prediction_of(result, request)

    async def is_ready(self) -> bool:
        """Whether Triton says that the model is ready (it does not notice a crashed stage)."""
        try:
            return bool(
                await self._triton.is_model_ready(MODEL_NAME, client_timeout=_READY_TIMEOUT_S)
            )
        except InferenceServerException:
            return False

    async def close(self) -> None:
        """Close the connection."""
        await self._triton.close()

    def _error(self, error: InferenceServerException, log_id: str) -> OvsegError:
        status = (error.status() or "").removeprefix("StatusCode.")
        message = _TRITON_PREFIX.sub("", error.message() or "")
        if status == "UNAVAILABLE" and "connect" in message:
            return ConnectionFailedError(
                f"grpc://{self._address}: {message}", retry_after_s=_RETRY_AFTER_S
            )
        if status == "INVALID_ARGUMENT":
            return InvalidRequestError(422, message, log_id, _problems(message))
        if _CRASH_MESSAGE.search(message):
            status = "UNAVAILABLE"
        return error_for(_HTTP_STATUSES.get(status, 500), message, log_id, _RETRY_AFTER_S)


class BlockingTriton:
    """Triton for `Client`.

    Several threads may ask at once: what tritonclient warns of are streams; a channel of gRPC is
    made for it, and `infer` keeps nothing.
    """

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self._client = triton.InferenceServerClient(address, **options)

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        return self._client.infer(model_name, inputs, **options)

    async def is_model_ready(self, model_name: str, *, client_timeout: float) -> bool:
        return bool(self._client.is_model_ready(model_name, client_timeout=client_timeout))

    async def close(self) -> None:
        self._client.close()


class AsyncioTriton:
    """Triton for `AsyncClient`; connects at the first call, to be in the event loop of that."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        if certificates := options.get("root_certificates"):
            Path(certificates).read_bytes()  # What is wrong with it is said at once.
        self._connect = functools.partial(aio.InferenceServerClient, address, **options)

    @cached_property
    def _client(self) -> Any:
        return self._connect()

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        return await self._client.infer(model_name, inputs, **options)

    async def is_model_ready(self, model_name: str, *, client_timeout: float) -> bool:
        return bool(await self._client.is_model_ready(model_name, client_timeout=client_timeout))

    async def close(self) -> None:
        if "_client" in vars(self):
            await self._client.close()


def triton_options(tls: bool, ca_file: str | os.PathLike[str] | None) -> dict[str, Any]:
    """What `tritonclient`'s clients are made with."""
    return {"ssl": tls, "root_certificates": None if ca_file is None else os.fspath(ca_file)}


def output_names(request: PredictRequest) -> list[str]:
    """The tensors to ask for: the stages of others do not run."""
    wanted = {"overlay": request.visualize, "low_res_masks": request.keep_masks}
    return ["counts", "size", "scores", *(name for name, is_so in wanted.items() if is_so)]


def request_inputs(file: bytes, request: PredictRequest) -> list[Any]:
    """The tensors of a request about an image file."""
    inputs = [
        _input("image", np.array([file], np.object_), "BYTES"),
        _input("point_coords", request.prompts.coords.astype(np.float32), "FP32"),
        _input("point_labels", request.prompts.labels, "INT32"),
    ]
    if request.refine is not None:
        inputs.append(_input("mask_input", _low_res_masks(request.refine), "FP32"))
    if request.multimask:
        inputs.append(_input("multimask", np.array([True]), "BOOL"))
    return inputs


def _low_res_masks(prediction: Prediction) -> npt.NDArray[np.float32]:
    masks = prediction.low_res_masks
    if masks is None:
        raise ValueError("refine must have been predicted over gRPC with keep_masks=True")
    return masks[np.arange(len(masks)), prediction.best] if masks.ndim == 4 else masks


def prediction_of(result: Any, request: PredictRequest) -> Prediction:
    """The result in Triton's answer: `counts` and `scores` [N, M], `size` [2], `overlay` [1]."""
    height, width = (int(side) for side in result.as_numpy("size"))
    rles = [
        [Rle(size=[height, width], counts=counts.decode("ascii")) for counts in candidates]
        for candidates in result.as_numpy("counts")
    ]
    scores = result.as_numpy("scores")
    low_res_masks = result.as_numpy("low_res_masks") if request.keep_masks else None
    if low_res_masks is not None and not request.multimask:
        low_res_masks = low_res_masks[:, 0]
    return Prediction(
        rles=rles if request.multimask else [candidates[0] for candidates in rles],
        scores=scores if request.multimask else scores.reshape(-1),
        size=(height, width),
        overlay=bytes(result.as_numpy("overlay")[0]) if request.visualize else None,
        log_id=request.log_id or "",
        low_res_masks=low_res_masks,
    )


def _problems(message: str) -> list[Problem]:
    """A stage's `tensor: reason`; empty for Triton's own messages."""
    loc, found, reason = message.partition(": ")
    return [Problem(loc, reason)] if found and loc.isidentifier() else []


def _input(name: str, value: npt.NDArray[Any], datatype: str) -> Any:
    tensor = triton.InferInput(name, list(value.shape), datatype)
    tensor.set_data_from_numpy(value)
    return tensor
