"""The one call to Triton: prompts -> tensors, tensors -> masks."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from ovseg.served_models import ENSEMBLE
from ovseg.stage_reports import StageReports, embedding_was_cached
from ovseg_gateway.admission import Admission, Place
from ovseg_gateway.errors import InferenceTimeoutError, UnavailableError
from ovseg_gateway.models import ModelIndexClient, ServedModels
from ovseg_gateway.prompt_tensors import PromptTensors
from ovseg_gateway.routes_to_replicas import route_headers
from ovseg_gateway.single_flight import SingleFlight
from ovseg_gateway.triton_errors import http_error, status_of
from ovseg_gateway.triton_inputs import array_input, image_input

_LASTING = ("INVALID_ARGUMENT", "DEADLINE_EXCEEDED")
"""What is not explained by a model that was unloaded."""


class InferenceClient(ModelIndexClient, Protocol):
    """The part of `tritonclient.grpc.aio.InferenceServerClient` that is used here."""

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any: ...

    def stream_infer(self, inputs_iterator: Any, **options: Any) -> Any: ...

    async def is_model_ready(
        self,
        model_name: str,
        *,
        headers: dict[str, str] | None = None,
        client_timeout: float | None = None,
    ) -> bool: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What to find in an image."""

    image: bytes
    """An image file."""
    image_id: str
    """Another one for another file."""
    prompts: PromptTensors
    mask_input: npt.NDArray[np.float32] | None = None
    """Low-res masks to refine, [N, 256, 256]."""
    multimask: bool = False
    """Whether to find three candidates for each prompt."""
    visualize: bool = False
    """Whether to draw the masks."""
    keep_masks: bool = False
    """Whether the low-res masks are wanted too."""
    model: str | None = None
    """A served model; by default one that takes such prompts is chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What Triton found for N prompts: M masks for each, 1 or 3."""

    counts: list[str]
    """COCO compressed run-length text of N * M masks, prompt by prompt."""
    masks_per_prompt: int
    size: tuple[int, int]
    """Height and width of the image, EXIF orientation applied."""
    scores: npt.NDArray[np.float32]
    """Predicted IoU, [N * M]; NaN where the model predicts none."""
    overlay: bytes | None
    """JPEG with the masks drawn, where it was asked for."""
    low_res_masks: npt.NDArray[np.float32] | None
    """Logits, [N * M, 256, 256], where they were asked for."""
    stage_seconds: Mapping[str, float]
    """Seconds of each stage that ran, as it said; empty where Triton is on another machine."""
    waited_s: float | None
    """Seconds waited for another request to have the same image encoded; None: did not wait."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What to ask Triton."""

    ensemble: str
    inputs: list[InferInput]
    outputs: list[str]
    request_id: str
    route: str
    """To one of several Tritons."""
    deadline: float
    """In the time of `time.monotonic`; nothing is sent after it."""
    place: Place | None
    """In the queue; None: goes past it."""


class Segmenter:
    """Runs the ensemble `open_vocabulary_segmentation`."""

    def __init__(
        self,
        client: InferenceClient,
        single_flight: SingleFlight,
        admission: Admission,
        longest_s: float,
        stage_reports: StageReports | None = None,
    ) -> None:
        """Use a connection to Triton.

        Args:
            client: the connection; `aclose` closes it.
            single_flight: who may have a new image encoded.
            admission: who may be sent to Triton.
            longest_s: seconds after which Triton's answer is not waited for by anybody.
            stage_reports: where the stages tell how long they took.
        """
        self._client = client
        self._models = ServedModels(client)
        self._single_flight = single_flight
        self._admission = admission
        self._longest_s = longest_s
        self._abandoned: set[asyncio.Task[Segmentation]] = set()
        self._stage_reports = stage_reports

    @property
    def models(self) -> ServedModels:
        """Which models Triton serves."""
        return self._models

    async def segment(
        self,
        question: Question,
        *,
        request_id: str,
        timeout_s: float,
        route: str | None = None,
        queued: bool = True,
    ) -> Segmentation:
        """Find the masks; with `queued` false past the queue, as probes do.

        Of several Tritons the one that `route` leads to is asked, by default the image's own.

        If this is cancelled, or takes too long, what was not sent to Triton yet is not sent. What
        was sent keeps its turn until Triton is done with it: Triton cannot be stopped in the middle
        of a request, and others would only wait there instead of here.

        Raises:
            OverloadedError: it would wait too long for its turn.
            InvalidRequestError: a stage found the image or the prompts impossible, or no such
                model is served.
            UnavailableError: Triton's queue is full, it is stopping, or it cannot be reached.
            InferenceTimeoutError: no answer within `timeout_s` seconds.
            InferenceFailedError: anything else; logged with the request id.
        """
        ensemble = await self._models.ensemble_for(question.model, question.prompts.kinds)
        wanted = {"overlay": question.visualize, "low_res_masks": question.keep_masks}
        names = ["counts", "size", "scores", *(name for name, is_so in wanted.items() if is_so)]
        with self._admission.place() if queued else nullcontext() as place:
            deadline = time.monotonic() + timeout_s
            route = route or question.image_id
            call = _Call(ensemble, _inputs(question), names, request_id, route, deadline, place)
            return await self._wait_for(question, call)

    async def _wait_for(self, question: Question, call: _Call) -> Segmentation:
        work = asyncio.create_task(self._segment_in_turn(question.image_id, call))
        try:
            timeout_s = call.deadline - time.monotonic()
            return await asyncio.wait_for(asyncio.shield(work), timeout_s)
        except TimeoutError:
            raise InferenceTimeoutError from None
        except InferenceServerException as error:
            if time.monotonic() >= call.deadline:
                raise InferenceTimeoutError from None
            if call.ensemble == ENSEMBLE or status_of(error) in _LASTING:
                raise http_error(error) from error
            # A model beside the default may have been unloaded since Triton was asked.
            self._models.forget()
            again = await self._models.ensemble_for(question.model, question.prompts.kinds)
            if again == call.ensemble:
                raise http_error(error) from error
            raise UnavailableError("The model was unloaded; try again") from error
        finally:
            if not work.done():
                self._abandon(work, call)

    def _abandon(self, work: asyncio.Task[Segmentation], call: _Call) -> None:
        if call.place is None or not call.place.runs:
            work.cancel()
            return
        self._abandoned.add(work)

        def forget(_: asyncio.Task[Segmentation]) -> None:
            self._abandoned.discard(work)
            if not work.cancelled():
                work.exception()  # Nobody else will ask.

        work.add_done_callback(forget)

    async def _segment_in_turn(self, image_id: str, call: _Call) -> Segmentation:
        async with self._single_flight.turn(call.ensemble, image_id) as turn:
            kind = "new" if turn.is_first else "known"
            async with call.place.turn(kind) if call.place else nullcontext():
                result, stage_seconds = await self._infer(call)
        height, width = result.as_numpy("size").tolist()
        overlay = result.as_numpy("overlay") if "overlay" in call.outputs else None
        low_res = result.as_numpy("low_res_masks") if "low_res_masks" in call.outputs else None
        counts = result.as_numpy("counts")
        if embedding_was_cached(stage_seconds) is False:
            self._single_flight.note_encoded(turn)
        return Segmentation(
            counts=[text.decode("ascii") for text in counts.reshape(-1)],
            masks_per_prompt=counts.shape[1],
            size=(height, width),
            scores=result.as_numpy("scores").reshape(-1),
            overlay=None if overlay is None else bytes(overlay[0]),
            low_res_masks=None if low_res is None else low_res.reshape(-1, *low_res.shape[2:]),
            stage_seconds=stage_seconds,
            waited_s=turn.waited_s,
        )

    async def _infer(self, call: _Call) -> tuple[Any, Mapping[str, float]]:
        rest_s = call.deadline - time.monotonic()
        if rest_s <= 0:
            raise InferenceTimeoutError
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
                # In the queues of Triton's stages the request's own deadline holds.
                timeout=math.ceil(rest_s * 1e6),
                client_timeout=self._longest_s,
                headers=route_headers(call.route),
            )
        finally:
            if reports:
                stage_seconds = reports.close_request(correlation_id)
        return result, stage_seconds

    async def is_ready(self, timeout_s: float, route: str) -> bool:
        """Whether the Triton that `route` leads to says that the ensemble is ready (no inference).

        That the whole server is ready it denies while any model is loaded, however idle.
        """
        try:
            return await self._client.is_model_ready(
                ENSEMBLE, headers=route_headers(route), client_timeout=timeout_s
            )
        except InferenceServerException:
            return False

    async def aclose(self) -> None:
        """Close the connection, and what else is open."""
        for work in self._abandoned:
            work.cancel()
        await self._client.close()
        self._single_flight.close()
        if self._stage_reports:
            self._stage_reports.close()


def _inputs(question: Question) -> list[InferInput]:
    prompts = question.prompts
    arrays = {"point_coords": prompts.coords, "point_labels": prompts.labels}
    if question.mask_input is not None:
        arrays["mask_input"] = question.mask_input
    if question.multimask:
        arrays["multimask"] = np.array([True])
    return [image_input(question.image), *(array_input(*named) for named in arrays.items())]
