"""One deadline for a whole call, and when to send a request again.

Asking for masks changes nothing at the service, so a request can be sent again without harm. It is
worth it only where the error says so (`retry_after_s`): nothing answered, or the service was busy.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ovseg_client.errors import OvsegError, RequestTimeoutError

_FIRST_WAIT_S = 0.1
"""Doubles with each retry, where the error names no longer one."""
_JITTER = 0.5
"""Waits are longer by up to this share, so that callers who were refused together come apart."""

_Result = TypeVar("_Result")
logger = logging.getLogger("ovseg_client")


@dataclass(frozen=True)
class Deadline:
    """When a call must have ended, on the clock of `time.monotonic`."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """That many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds until then; 0 when it is over."""
        return max(self.at - time.monotonic(), 0.0)

    def check(self) -> float:
        """Seconds until then.

        Raises:
            RequestTimeoutError: it is over.
        """
        if not (left_s := self.left_s):
            raise RequestTimeoutError(504, "no answer in time")
        return left_s


async def with_retries(
    attempt: Callable[[], Awaitable[_Result]],
    retries: int,
    deadline: Deadline,
    sleep: Callable[[float], Awaitable[None]],
) -> _Result:
    """What an attempt returns; after an error that allows it, of up to `retries` further ones.

    Raises:
        OvsegError: of the last attempt, or of one after which there is no time to wait.
    """
    for tried in itertools.count():
        try:
            return await attempt()
        except OvsegError as error:
            if tried >= retries or error.retry_after_s is None:
                raise
            wait_s = max(error.retry_after_s, _FIRST_WAIT_S * 2**tried)
            wait_s *= 1 + _JITTER * random.random()
            if wait_s >= deadline.left_s:
                raise
            logger.debug("%s; trying again in %.2f s", error, wait_s)
        await sleep(wait_s)
    raise AssertionError("itertools.count() does not end")
