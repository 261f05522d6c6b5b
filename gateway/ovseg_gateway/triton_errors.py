"""What Triton's gRPC errors mean for the caller."""

from __future__ import annotations

import logging
import re
from dataclasses import fields

from pydantic.alias_generators import to_camel
from tritonclient.utils import InferenceServerException

from ovseg.served_models import EVERYTHING
from ovseg.stages.everything.parameters import EverythingParameters
from ovseg_gateway.errors import (
    InferenceFailedError,
    InferenceTimeoutError,
    InvalidRequestError,
    RecoveringError,
    UnavailableError,
)

_FIELDS_OF_TENSORS = {
    "image": "body.image",
    "point_coords": "body.prompt",
    "point_labels": "body.prompt",
    "mask_input": "body.maskInput",
    "multimask": "body.multimask",
    **{
        field.name: f"body.{EVERYTHING}.{to_camel(field.name)}"
        for field in fields(EverythingParameters)
    },
}
# A stage's message, behind what Triton puts in front of it: "[request id: x] in ensemble 'y', ".
_STAGE_MESSAGE = re.compile(
    rf"(?:^|\] |', )(?P<tensor>{'|'.join(_FIELDS_OF_TENSORS)}): (?P<text>.*)\Z", re.DOTALL
)
# A stub has died, or its model is being loaded again; what the gRPC library says is UNAVAILABLE.
_CRASH_MESSAGE = re.compile(r"is not healthy|has no available versions|unknown model")
_QUEUE_MESSAGE = re.compile(r"maximum queue size")

logger = logging.getLogger(__name__)


def http_error(error: InferenceServerException) -> Exception:
    """The HTTP form of a gRPC error; what is not the caller's business goes to the log only."""
    status = status_of(error)
    message = error.message() or ""
    # An error within a stream has no status.
    if status in ("INVALID_ARGUMENT", "") and (found := _STAGE_MESSAGE.search(message)):
        return InvalidRequestError.single(_FIELDS_OF_TENSORS[found["tensor"]], found["text"])
    logger.error("inference failed: %s: %s", status or "no status", message)
    if status == "INVALID_ARGUMENT":
        return InvalidRequestError.single("body", "The model cannot take this request")
    if status in ("UNAVAILABLE", "") and _QUEUE_MESSAGE.search(message):
        return UnavailableError("The service is busy; try again")
    if status == "UNAVAILABLE" or _CRASH_MESSAGE.search(message):
        return RecoveringError()
    if status == "DEADLINE_EXCEEDED":
        return InferenceTimeoutError()
    return InferenceFailedError()


def status_of(error: InferenceServerException) -> str:
    """gRPC's name of the status, such as "UNAVAILABLE"; "" if there was none."""
    return (error.status() or "").removeprefix("StatusCode.")
