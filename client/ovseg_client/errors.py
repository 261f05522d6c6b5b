"""What can go wrong, after the HTTP status codes of the service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


class OvsegError(Exception):
    """Base of all errors of this package."""


class ConnectionFailedError(OvsegError):
    """Nothing answers at the address."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request.

    `loc` is the field: `body.prompt[0]` as REST names it, `point_coords` over gRPC.
    """

    loc: str
    msg: str


class ApiError(OvsegError):
    """The service refused or failed; `status` is the HTTP status that REST has for it."""

    def __init__(self, status: int, message: str, log_id: str = "") -> None:
        super().__init__(message)
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


class UnavailableError(ApiError):
    """The service is busy or restarting (503); sending it again may help."""


class RequestTimeoutError(ApiError):
    """The service, or the wait for it, ran out of time (504)."""


class ServerError(ApiError):
    """The service failed (5xx)."""


def error_for(status: int, message: str, log_id: str = "") -> ApiError:
    """The error of an HTTP status.

    Args:
        status: HTTP status, not 2xx.
        message: `errorMsg` of the answer.
        log_id: `logId` of the answer.
    """
    if 400 <= status < 500:
        return InvalidRequestError(status, message, log_id, _problems(message))
    kind = {503: UnavailableError, 504: RequestTimeoutError}.get(status, ServerError)
    return kind(status, message, log_id)


def _problems(message: str) -> tuple[Problem, ...]:
    """The list that the service puts into the text of a 422; empty for plain text."""
    try:
        return tuple(Problem(entry["loc"], entry["msg"]) for entry in json.loads(message))
    except (ValueError, TypeError, KeyError):
        return ()
