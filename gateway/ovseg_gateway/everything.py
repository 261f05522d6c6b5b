"""Everything in an image: one long request to Triton, which tells how far it is.

It takes far longer than any other request, but as a long row of small ones that others come in
between. Until the image is encoded it is a request like others, and has its turn among them; after
that it only competes with those of its own kind.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferRequestedOutput
from tritonclient.utils import InferenceServerException

from ovseg.served_models import ENSEMBLE, EVERYTHING
from ovseg.stage_reports import StageReports
from ovseg_gateway.admission import Admission
from ovseg_gateway.errors import InferenceFailedError, InferenceTimeoutError, OverloadedError
from ovseg_gateway.inference import InferenceClient
from ovseg_gateway.models import ServedModels
from ovseg_gateway.routes_to_replicas import route_headers
from ovseg_gateway.single_flight import SingleFlight
from ovseg_gateway.triton_errors import http_error
from ovseg_gateway.triton_inputs import array_input, image_input

Report = Callable[[int, int], None]
"""Takes the numbers of points done and of all points."""

_ARRAYS = ("scores", "stability_scores", "areas", "boxes", "points", "crop_boxes")


@dataclass(frozen=True, slots=True, eq=False)
class EverythingQuestion:
    """An image to find everything in."""

    image: bytes
    """An image file."""
    image_id: str
    """Another one for another file."""
    parameters: Mapping[str, int | float]
    """By the names of the Triton model's inputs; those that are missing have defaults there."""
    visualize: bool = False
    """Whether to draw the masks."""
    model: str | None = None
    """A served model; by default one that can do it is chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class EverythingFound:
    """K masks, the best first."""

    counts: list[str]
    """COCO compressed run-length text."""
    size: tuple[int, int]
    """Height and width of the image."""
    arrays: Mapping[str, npt.NDArray[Any]]
    """The other outputs of the Triton model that have a row for each mask, by name."""
    overlay: bytes | None
    """JPEG with the masks drawn, where it was asked for."""
    stage_seconds: Mapping[str, float]
    """Seconds of each stage, as it said; empty where Triton is on another machine."""


class EverythingFinder:
    """Calls the Triton model `everything`, for one request at a time."""

    def __init__(
        self,
        client: InferenceClient,
        models: ServedModels,
        single_flight: SingleFlight,
        admission: Admission,
        max_waiting: int,
        stage_reports: StageReports | None = None,
    ) -> None:
        """Use a connection to Triton, which somebody else closes.

        Args:
            client: the connection.
            models: what Triton serves.
            single_flight: who may have a new image encoded.
            admission: who may be sent to Triton.
            max_waiting: how many may wait for the one that runs.
            stage_reports: where the stages tell how long they took.
        """
        self._client = client
        self._models = models
        self._single_flight = single_flight
        self._admission = admission
        self._max_waiting = max_waiting
        self._stage_reports = stage_reports
        self._only_one = asyncio.Semaphore(1)
        self._admitted = 0
        self._latest_s = 1.0

    async def find(
        self,
        question: EverythingQuestion,
        *,
        request_id: str,
        timeout_s: float,
        report: Report,
        route: str | None = None,
    ) -> EverythingFound:
        """Find everything; if this is cancelled, Triton stops after the present batch of points.

        `route` is as of `Segmenter.segment`.

        Raises:
            OverloadedError: too many such requests wait already, or the image's encoding would.
            InvalidRequestError: the image or the parameters are impossible, or no model can do it.
            UnavailableError, InferenceTimeoutError, InferenceFailedError: see `Segmenter.segment`.
        """
        deadline = time.monotonic() + timeout_s
        triton_model = await self._models.everything_for(question.model)
        reports = self._stage_reports
        correlation_id = reports.open_request() if reports else 0
        stage_seconds: Mapping[str, float] = {}
        try:
            async with self._turn():
                answers = self._answers(
                    triton_model,
                    question,
                    request_id,
                    correlation_id,
                    route or question.image_id,
                    deadline,
                )
                async with aclosing(answers):
                    result = await self._last(answers, triton_model, question, report)
        except InferenceServerException as error:
            if time.monotonic() >= deadline:
                raise InferenceTimeoutError from None
            raise http_error(error) from error
        finally:
            if reports:
                stage_seconds = reports.close_request(correlation_id)
        height, width = result.as_numpy("size").tolist()
        return EverythingFound(
            counts=[text.decode("ascii") for text in result.as_numpy("counts")],
            size=(height, width),
            arrays={name: result.as_numpy(name) for name in _ARRAYS},
            overlay=bytes(result.as_numpy("overlay")[0]) if question.visualize else None,
            stage_seconds=stage_seconds,
        )

    async def _last(
        self,
        answers: AsyncIterator[Any],
        triton_model: str,
        question: EverythingQuestion,
        report: Report,
    ) -> Any:
        """Triton's last answer, which has the masks."""
        ensemble = ENSEMBLE + triton_model.removeprefix(EVERYTHING)
        with self._admission.place() as place:
            async with (
                self._single_flight.turn(ensemble, question.image_id) as turn,
                place.turn("new" if turn.is_first else EVERYTHING),
            ):
                answer = await anext(answers, None)  # The image is encoded.
        while answer is not None and answer.as_numpy("counts") is None:
            report(*answer.as_numpy("progress").tolist())
            answer = await anext(answers, None)
        if answer is None:
            raise InferenceFailedError
        return answer

    async def _answers(
        self,
        triton_model: str,
        question: EverythingQuestion,
        request_id: str,
        correlation_id: int,
        route: str,
        deadline: float,
    ) -> AsyncGenerator[Any, None]:
        rest_s = deadline - time.monotonic()
        if rest_s <= 0:
            raise InferenceTimeoutError
        outputs = ["progress", "counts", "size", *_ARRAYS]
        if question.visualize:
            outputs.append("overlay")
        request = {
            "model_name": triton_model,
            "inputs": _inputs(question),
            "outputs": [InferRequestedOutput(name) for name in outputs],
            "request_id": request_id,
            "sequence_id": correlation_id,
            "timeout": math.ceil(rest_s * 1e6),
        }

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield request

        stream = self._client.stream_infer(
            requests(), stream_timeout=rest_s, headers=route_headers(route)
        )
        try:
            async for result, error in stream:
                if error is not None:
                    raise error
                yield result
        except grpc.aio.AioRpcError as error:
            raise InferenceServerException(
                error.details(), status=f"StatusCode.{error.code().name}"
            ) from error
        finally:
            stream.cancel()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._admitted > self._max_waiting:
            raise OverloadedError(math.ceil(self._latest_s))
        self._admitted += 1
        try:
            async with self._only_one:
                started = time.monotonic()
                yield
                self._latest_s = time.monotonic() - started
        finally:
            self._admitted -= 1


def _inputs(question: EverythingQuestion) -> list[Any]:
    arrays = {
        name: np.array([value], np.float32 if isinstance(value, float) else np.int32)
        for name, value in question.parameters.items()
    }
    return [image_input(question.image), *(array_input(*named) for named in arrays.items())]
