"""What can go wrong, after the HTTP status codes of the service.

OvsegError
├── ConnectionFailedError          nothing answers at the address
└── ApiError
    ├── InvalidRequestError        4xx
    │   ├── AuthenticationError    401, 403
    │   └── NotFoundError          404
    ├── UnavailableError           503
    │   └── RateLimitedError       429
    ├── RequestTimeoutError        504, and the client's own timeout
    └── ServerError                other 5xx
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


class OvsegError(Exception):
    """Base of all errors of this package."""

    retry_after_s: float | None = None
    """The same call may succeed after so many seconds; None where sending it again cannot help."""


class ConnectionFailedError(OvsegError):
    """Nothing answers at the address, or the connection broke."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request.

    `loc` is the field: `body.prompt[0]` as REST names it, `point_coords` over gRPC.
    """

    loc: str
    msg: str


class ApiError(OvsegError):
    """The service refused or failed; `status` is the HTTP status that REST has for it."""

    def __init__(
        self, status: int, message: str, log_id: str = "", *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status
        self.message = message
        self.log_id = log_id
        """Names the request in the service's log."""


class InvalidRequestError(ApiError):
    """The request is wrong (status 4xx); sending it again cannot help."""

    def __init__(
        self, status: int, message: str, log_id: str = "", problems: Sequence[Problem] = ()
    ) -> None:
        text = "; ".join(f"{problem.loc}: {problem.msg}" for problem in problems)
        super().__init__(status, text or message, log_id)
        self.problems = tuple(problems)


class AuthenticationError(InvalidRequestError):
    """The service wants a token, or another one (401, 403)."""


class NotFoundError(InvalidRequestError):
    """The service does not hold what the request names (404): a mask to refine, or a model."""


class UnavailableError(ApiError):
    """The service is busy or restarting (503); sending it again may help."""


class RateLimitedError(UnavailableError):
    """This caller asks too often (429); sending it again later helps."""


class RequestTimeoutError(ApiError):
    """The service, or the wait for it, ran out of time (504)."""


class ServerError(ApiError):
    """The service failed (5xx)."""


_INVALID = {401: AuthenticationError, 403: AuthenticationError, 404: NotFoundError}
_BUSY = {429: RateLimitedError, 503: UnavailableError}


def error_for(
    status: int, message: str, log_id: str = "", retry_after_s: float | None = None
) -> ApiError:
    """The error of an HTTP status.

    Args:
        status: HTTP status, not 2xx.
        message: `errorMsg` of the answer.
        log_id: `logId` of the answer.
        retry_after_s: its `Retry-After`; counts for 429 and 503 only.
    """
    if busy := _BUSY.get(status):
        return busy(status, message, log_id, retry_after_s=retry_after_s)
    if 400 <= status < 500:
        invalid = _INVALID.get(status, InvalidRequestError)
        return invalid(status, message, log_id, _problems(message))
    return (RequestTimeoutError if status == 504 else ServerError)(status, message, log_id)


def _problems(message: str) -> tuple[Problem, ...]:
    """The list that the service puts into the text of a 422; empty for plain text."""
    try:
        return tuple(Problem(entry["loc"], entry["msg"]) for entry in json.loads(message))
    except (ValueError, TypeError, KeyError):
        return ()
