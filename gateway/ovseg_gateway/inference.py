"""The one call to Triton: prompts -> tensors, tensors -> masks, gRPC errors -> HTTP errors."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from ovseg.served_models import ENSEMBLE
from ovseg.stage_reports import StageReports
from ovseg_gateway.errors import (
    InferenceFailedError,
    InferenceTimeoutError,
    InvalidRequestError,
    UnavailableError,
)
from ovseg_gateway.models import ModelIndexClient, ServedModels
from ovseg_gateway.single_flight import SingleFlight

PromptType = Literal["box", "point"]

# SAM's point labels (segment_anything/modeling/prompt_encoder.py).
_POINT_LABELS = {"point": (1,), "box": (2, 3)}

_FIELDS_OF_TENSORS = {
    "image": "body.image",
    "point_coords": "body.prompt",
    "point_labels": "body.prompt",
    "mask_input": "body.maskInput",
    "multimask": "body.multimask",
}
# A stage's message, behind what Triton puts in front of it: "[request id: x] in ensemble 'y', ".
_STAGE_MESSAGE = re.compile(
    rf"(?:^|\] |', )(?P<tensor>{'|'.join(_FIELDS_OF_TENSORS)}): (?P<text>.*)\Z", re.DOTALL
)

_SHORTEST_TIMEOUT_S = 0.001

logger = logging.getLogger(__name__)


class InferenceClient(ModelIndexClient, Protocol):
    """The part of `tritonclient.grpc.aio.InferenceServerClient` that is used here."""

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any: ...

    async def is_server_ready(self, *, client_timeout: float | None = None) -> bool: ...

    async def is_model_ready(
        self, model_name: str, *, client_timeout: float | None = None
    ) -> bool: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What Triton found for N prompts."""

    counts: list[str]
    """COCO compressed run-length text, one for each prompt."""
    size: tuple[int, int]
    """Height and width of the image, EXIF orientation applied."""
    scores: npt.NDArray[np.float32]
    """Predicted IoU, [N]; NaN where the model predicts none."""
    overlay: bytes | None
    """JPEG with the masks drawn, where it was asked for."""
    stage_seconds: Mapping[str, float]
    """Seconds of each stage that ran, as it said; empty where Triton is on another machine."""
    waited_s: float | None
    """Seconds waited for another request to have the same image encoded; None: did not wait."""

    @property
    def cache_hit(self) -> bool | None:
        """Whether the embedding came from Triton's cache; None if the stages did not say."""
        if "prompt_decoder" not in self.stage_seconds:
            return None
        return "sam_encoder" not in self.stage_seconds


@dataclass(frozen=True, slots=True)
class _Call:
    """What to ask Triton."""

    ensemble: str
    inputs: list[InferInput]
    outputs: list[str]
    request_id: str
    deadline: float
    """In the time of `time.monotonic`."""


class Segmenter:
    """Runs the ensemble `open_vocabulary_segmentation`."""

    def __init__(
        self,
        client: InferenceClient,
        single_flight: SingleFlight,
        stage_reports: StageReports | None = None,
    ) -> None:
        """Use a connection to Triton.

        Args:
            client: the connection; `aclose` closes it.
            single_flight: who may have a new image encoded.
            stage_reports: where the stages tell how long they took.
        """
        self._client = client
        self._models = ServedModels(client)
        self._single_flight = single_flight
        self._stage_reports = stage_reports

    async def segment(
        self,
        image: bytes,
        rows: Sequence[Sequence[float]],
        prompt_type: PromptType,
        *,
        model: str | None = None,
        visualize: bool,
        request_id: str,
        timeout_s: float,
    ) -> Segmentation:
        """Segment an encoded image with N rows of coordinates (pixels), one mask a row.

        `model` names a served model; by default one that takes such prompts is chosen.

        Raises:
            InvalidRequestError: a stage found the image or the prompts impossible, or no such
                model is served.
            UnavailableError: Triton's queue is full, it is stopping, or it cannot be reached.
            InferenceTimeoutError: no answer within `timeout_s` seconds.
            InferenceFailedError: anything else; logged with the request id.
        """
        ensemble = await self._models.ensemble_for(model, prompt_type)
        names = ["counts", "size", "scores", *(["overlay"] if visualize else [])]
        inputs = [_image_input(image), *_prompt_inputs(rows, prompt_type)]
        call = _Call(ensemble, inputs, names, request_id, time.monotonic() + timeout_s)
        try:
            return await asyncio.wait_for(self._segment_in_turn(image, call), timeout_s)
        except asyncio.TimeoutError:
            raise InferenceTimeoutError("The request took too long") from None
        except InferenceServerException as error:
            if ensemble == ENSEMBLE or _status(error) in ("INVALID_ARGUMENT", "DEADLINE_EXCEEDED"):
                raise _http_error(error, request_id) from error
            # A model beside the default may have been unloaded since Triton was asked.
            self._models.forget()
            if await self._models.ensemble_for(model, prompt_type) == ensemble:
                raise _http_error(error, request_id) from error
            raise UnavailableError("The model was unloaded; try again") from error

    async def _segment_in_turn(self, image: bytes, call: _Call) -> Segmentation:
        async with self._single_flight.turn(call.ensemble, image) as turn:
            result, stage_seconds = await self._infer(call)
        height, width = result.as_numpy("size").tolist()
        overlay = result.as_numpy("overlay") if "overlay" in call.outputs else None
        found = Segmentation(
            counts=[text.decode("ascii") for text in result.as_numpy("counts").reshape(-1)],
            size=(height, width),
            scores=result.as_numpy("scores").reshape(-1),
            overlay=None if overlay is None else bytes(overlay[0]),
            stage_seconds=stage_seconds,
            waited_s=turn.waited_s,
        )
        if found.cache_hit is False:
            self._single_flight.note_encoded(turn)
        return found

    async def _infer(self, call: _Call) -> tuple[Any, Mapping[str, float]]:
        reports = self._stage_reports
        # Triton hands a "sequence id" to every step of an ensemble; nothing here is a sequence.
        correlation_id = reports.open_request() if reports else 0
        stage_seconds: Mapping[str, float] = {}
        try:
            result = await self._client.infer(
                call.ensemble,
                call.inputs,
                outputs=[InferRequestedOutput(name) for name in call.outputs],
                request_id=call.request_id,
                sequence_id=correlation_id,
                client_timeout=max(call.deadline - time.monotonic(), _SHORTEST_TIMEOUT_S),
            )
        finally:
            if reports:
                stage_seconds = reports.close_request(correlation_id)
        return result, stage_seconds

    async def is_ready(self, timeout_s: float) -> bool:
        """Whether Triton says that the server and the ensemble are ready (no inference)."""
        try:
            return await self._client.is_server_ready(
                client_timeout=timeout_s
            ) and await self._client.is_model_ready(ENSEMBLE, client_timeout=timeout_s)
        except InferenceServerException:
            return False

    async def aclose(self) -> None:
        """Close the connection, and what else is open."""
        await self._client.close()
        self._single_flight.close()
        if self._stage_reports:
            self._stage_reports.close()


def prompt_tensors(
    rows: Sequence[Sequence[float]], prompt_type: PromptType
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """SAM's form of N boxes [x0, y0, x1, y1] or N points [x, y], in pixels.

    Returns:
        `point_coords` [N, P, 2] and `point_labels` [N, P]; P = 2 corners for boxes, 1 for points.
    """
    labels = _POINT_LABELS[prompt_type]
    coords = np.asarray(rows, dtype=np.float32).reshape(len(rows), len(labels), 2)
    return coords, np.tile(np.asarray(labels, dtype=np.int32), (len(rows), 1))


def _image_input(image: bytes) -> InferInput:
    tensor = InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image], dtype=np.object_))
    return tensor


def _prompt_inputs(rows: Sequence[Sequence[float]], prompt_type: PromptType) -> list[InferInput]:
    coords, labels = prompt_tensors(rows, prompt_type)
    points = InferInput("point_coords", list(coords.shape), "FP32")
    points.set_data_from_numpy(coords)
    kinds = InferInput("point_labels", list(labels.shape), "INT32")
    kinds.set_data_from_numpy(labels)
    return [points, kinds]


def _http_error(error: InferenceServerException, request_id: str) -> Exception:
    """The HTTP form of a gRPC error; what is not the caller's business goes to the log only."""
    status = _status(error)
    message = error.message() or ""
    if status == "INVALID_ARGUMENT" and (found := _STAGE_MESSAGE.search(message)):
        return InvalidRequestError.single(_FIELDS_OF_TENSORS[found["tensor"]], found["text"])
    logger.error("inference failed, logId=%r: %s: %s", request_id, status or "no status", message)
    if status == "INVALID_ARGUMENT":
        return InvalidRequestError.single("body", "The model cannot take this request")
    if status == "UNAVAILABLE":
        return UnavailableError("The service is busy or restarting; try again")
    if status == "DEADLINE_EXCEEDED":
        return InferenceTimeoutError("The request took too long")
    return InferenceFailedError()


def _status(error: InferenceServerException) -> str:
    """gRPC's name of the status, such as "UNAVAILABLE"; "" if there was none."""
    return (error.status() or "").removeprefix("StatusCode.")
