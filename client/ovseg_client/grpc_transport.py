"""Requests straight to Triton: tensors over gRPC, without base64 and JSON."""

from __future__ import annotations

import functools
import os
import queue
import re
from collections.abc import AsyncIterator, Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ovseg_client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    OvsegError,
    Problem,
    error_for,
)
from ovseg_client.everything import (
    Everything,
    EverythingRequest,
    Report,
)
from ovseg_client.grpc_messages import (
    everything_inputs,
    everything_of,
    everything_output_names,
    output_names,
    prediction_of,
    request_inputs,
    requested,
)
from ovseg_client.images import LoadedImage, fetch
from ovseg_client.prediction import Prediction
from ovseg_client.request import PredictRequest
from ovseg_client.retrying import Deadline, with_retries
from ovseg_client.triton_modules import InferenceServerException, aio, grpc, triton
from ovseg_client.waiting import Waiting

MODEL_NAME = "open_vocabulary_segmentation"
EVERYTHING = "everything"
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

    async def stream_until(
        self, is_last: Callable[[Any], bool], timeout_s: float, **request: Any
    ) -> Any:
        """The last of the results of one request; `is_last` is called with each."""
        ...

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
        inputs = request_inputs(await self._file_of(image, deadline), request)

        async def attempt() -> Any:
            try:
                return await self._triton.infer(
                    f"{MODEL_NAME}.{request.model}" if request.model else MODEL_NAME,
                    inputs,
                    outputs=requested(output_names(request)),
                    request_id=request.log_id or "",
                    client_timeout=deadline.check(),
                )
            except InferenceServerException as error:
                raise self._error(error, request.log_id or "") from error

        result = await with_retries(attempt, self._retries, deadline, self._waiting.sleep)
        return prediction_of(result, request)

    async def everything(
        self, image: LoadedImage, request: EverythingRequest, report: Report, deadline: Deadline
    ) -> Everything:
        """Send one such request; Triton answers it bit by bit."""
        file = await self._file_of(image, deadline)
        inputs = everything_inputs(file, request)

        def take(result: Any) -> bool:
            if result.as_numpy("counts") is not None:
                return True
            done, total = result.as_numpy("progress").tolist()
            report(done, total)
            return False

        async def attempt() -> Any:
            try:
                return await self._triton.stream_until(
                    take,
                    deadline.check(),
                    model_name=f"{EVERYTHING}.{request.model}" if request.model else EVERYTHING,
                    inputs=inputs,
                    outputs=requested(everything_output_names(request)),
                    request_id=request.log_id or "",
                )
            except InferenceServerException as error:
                raise self._error(error, request.log_id or "") from error

        result = await with_retries(attempt, self._retries, deadline, self._waiting.sleep)
        return everything_of(result, request)

    async def _file_of(self, image: LoadedImage, deadline: Deadline) -> bytes:
        if image.file is None:  # Triton takes bytes only.
            image.file = await self._waiting.work(fetch, image.url or "", deadline.check())
        return image.file

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
        # An error within a stream has no status.
        if status == "INVALID_ARGUMENT" or (not status and _problems(message)):
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
        self._connect = functools.partial(triton.InferenceServerClient, address, **options)
        self._client = self._connect()

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        return self._client.infer(model_name, inputs, **options)

    async def stream_until(
        self, is_last: Callable[[Any], bool], timeout_s: float, **request: Any
    ) -> Any:
        # A client has room for one stream, and threads share this one.
        results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        with self._connect() as client:
            client.start_stream(
                lambda result, error: results.put((result, error)), stream_timeout=timeout_s
            )
            try:
                client.async_stream_infer(**request)
                while True:
                    result, error = results.get()
                    if error is not None:
                        raise error
                    if is_last(result):
                        return result
            finally:
                client.stop_stream(cancel_requests=True)

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

    async def stream_until(
        self, is_last: Callable[[Any], bool], timeout_s: float, **request: Any
    ) -> Any:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield request

        stream = self._client.stream_infer(requests(), stream_timeout=timeout_s)
        try:
            async for result, error in stream:
                if error is not None:
                    raise error
                if is_last(result):
                    return result
        except grpc.aio.AioRpcError as error:
            status = f"StatusCode.{error.code().name}"
            raise InferenceServerException(error.details(), status=status) from error
        finally:
            stream.cancel()
        raise InferenceServerException("the answer broke off")

    async def is_model_ready(self, model_name: str, *, client_timeout: float) -> bool:
        return bool(await self._client.is_model_ready(model_name, client_timeout=client_timeout))

    async def close(self) -> None:
        if "_client" in vars(self):
            await self._client.close()


def triton_options(tls: bool, ca_file: str | os.PathLike[str] | None) -> dict[str, Any]:
    """What `tritonclient`'s clients are made with."""
    return {"ssl": tls, "root_certificates": None if ca_file is None else os.fspath(ca_file)}


def _problems(message: str) -> list[Problem]:
    """A stage's `tensor: reason`; empty for Triton's own messages."""
    loc, found, reason = message.partition(": ")
    return [Problem(loc, reason)] if found and loc.isidentifier() else []
