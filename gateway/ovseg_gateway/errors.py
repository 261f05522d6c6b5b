"""Everything that can go wrong, each with the HTTP status and the text that the caller gets.

Every error answer is `{"logId", "errorCode", "errorMsg"}` with `errorCode` = HTTP status. For a
422, `errorMsg` is the JSON text of a list of `{"type", "loc", "msg"}`, as PaddleX's server has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ovseg_gateway.context import RequestContext, context_of
from ovseg_gateway.json_body import decode_json

PROBLEM_LIMIT = 100
"""Problems listed in one 422 answer, so that a small bad request cannot fetch a huge answer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request, e.g. `Problem("missing", "body.image", "Field required")`."""

    type: str
    loc: str
    msg: str


class GatewayError(Exception):
    """A request that cannot be answered with a result; `str(error)` is the `errorMsg`."""

    status_code: ClassVar[int] = 500
    headers: Mapping[str, str] = {}
    reason: ClassVar[str] = "failed"
    """In metrics and logs: why there was no result."""


class InvalidRequestError(GatewayError):
    """The request names something impossible; says which field and why."""

    status_code = 422
    reason = "invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:PROBLEM_LIMIT])
        super().__init__(json.dumps([asdict(problem) for problem in self.problems]))

    @classmethod
    def single(cls, loc: str, msg: str, type: str = "value_error") -> InvalidRequestError:
        """The common case of one problem."""
        return cls([Problem(type, loc, msg)])


class UnreadableBodyError(GatewayError):
    """The body is no text in an encoding that JSON allows."""

    status_code = 400
    reason = "invalid"

    def __init__(self) -> None:
        super().__init__("There was an error parsing the body")


class SlowBodyError(GatewayError):
    """The body did not arrive within `OVSEG_BODY_TIMEOUT_S`."""

    status_code = 408
    headers: Mapping[str, str] = {"Connection": "close"}
    reason = "slow_body"

    def __init__(self) -> None:
        super().__init__("The request body took too long to arrive")


class DamagedBodyError(GatewayError):
    """The body is not what its `Content-Encoding` says."""

    status_code = 400
    reason = "invalid"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"The body is not the whole {encoding} data that Content-Encoding says")


class UnsupportedEncodingError(GatewayError):
    """The body is compressed in a way that is not read."""

    status_code = 415
    reason = "invalid"

    def __init__(self, *supported: str) -> None:
        super().__init__(f"Content-Encoding should be one of {', '.join(supported)}, or none")
        self.headers = {"Accept-Encoding": ", ".join(supported)}


class BodyTooLargeError(GatewayError):
    """The body is larger than `OVSEG_MAX_BODY_BYTES`; the rest of it was not read."""

    status_code = 413
    headers: Mapping[str, str] = {"Connection": "close"}
    reason = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes")


class ForgottenImageError(GatewayError):
    """`imageId` names an image that this gateway does not hold, or not any more."""

    status_code = 404
    reason = "forgotten_image"

    def __init__(self) -> None:
        super().__init__("No image with this imageId is held here; send it as `image`")


class ForgottenMaskError(GatewayError):
    """`maskId` names a mask that this gateway does not hold, or not any more."""

    status_code = 404
    reason = "forgotten_mask"

    def __init__(self) -> None:
        super().__init__("No mask with this maskId is held here; ask for it again")


class InferenceFailedError(GatewayError):
    """Triton failed; the cause is in the log, not in the answer."""

    def __init__(self) -> None:
        super().__init__("Internal server error")


class UnavailableError(GatewayError):
    """Triton cannot take the request now: queue full, stopping, or not reachable."""

    status_code = 503
    headers: Mapping[str, str] = {"Retry-After": "1"}
    reason = "unavailable"


class OverloadedError(UnavailableError):
    """More is asked for than can be answered in time; nothing was done for this request."""

    reason = "overload"

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__("The service is busy; try again later")
        self.headers = {"Retry-After": str(max(retry_after_s, 1))}


class RateLimitedError(GatewayError):
    """One caller asks for more than `OVSEG_RATE_LIMIT`."""

    status_code = 429
    reason = "rate_limit"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Too many requests; try again later")
        self.headers = {"Retry-After": str(max(retry_after_s, 1))}


class RecoveringError(UnavailableError):
    """A process of the service died and is being replaced; the same request may work soon."""

    reason = "recovering"

    def __init__(self) -> None:
        super().__init__("The service is busy or restarting; try again")


class ShuttingDownError(UnavailableError):
    """The service is about to stop."""

    headers: Mapping[str, str] = {"Retry-After": "1", "Connection": "close"}
    reason = "shutting_down"

    def __init__(self) -> None:
        super().__init__("Shutting down")


class InferenceTimeoutError(GatewayError):
    """There was no answer within `OVSEG_REQUEST_TIMEOUT_S`, or what the request asked for."""

    status_code = 504
    reason = "deadline"

    def __init__(self) -> None:
        super().__init__("The request took too long")


def error_response(
    context: RequestContext, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that every failed request gets."""
    content = {"logId": context.log_id, "errorCode": status, "errorMsg": message}
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Answer `GatewayError` and Starlette's own 404 and 405 in the documented form."""
    app.add_exception_handler(GatewayError, _answer_gateway_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)


async def _answer_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    context_of(request).refusal = error.reason
    await _find_log_id(request)
    return error_response(context_of(request), error.status_code, str(error), error.headers)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    await _find_log_id(request)
    return error_response(context_of(request), error.status_code, error.detail, error.headers)


async def _find_log_id(request: Request) -> None:
    """Look for the caller's `logId` where no handler has read the body (404, 405, no JSON)."""
    context = context_of(request)
    if context.log_id_settled:
        return
    try:
        context.adopt_log_id(decode_json(await request.body()))
    except (GatewayError, ValueError, RecursionError):
        context.log_id_settled = True
