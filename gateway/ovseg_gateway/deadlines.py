"""How long a request may take, and whether its caller is still there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

from ovseg_gateway.context import context_of
from ovseg_gateway.errors import InferenceTimeoutError, InvalidRequestError

HEADER = "X-Request-Timeout"

Result = TypeVar("Result")


def set_deadline(request: Request, longest_s: float) -> None:
    """Note in the request's context how long it may take, counted from its head.

    Raises:
        InvalidRequestError: `X-Request-Timeout` is no number of seconds above 0.
    """
    context = context_of(request)
    context.timeout_s = longest_s
    asked = request.headers.get(HEADER)
    if asked is None:
        return
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidRequestError.single(f"header.{HEADER}", "Should be seconds, above 0")
    context.timeout_s = min(longest_s, seconds)


@contextmanager
def deadline(request: Request) -> Iterator[None]:
    """Stop the block at the request's deadline.

    Raises:
        InferenceTimeoutError: that is when it stopped.
    """
    try:
        with anyio.fail_after(context_of(request).remaining_s):
            yield
    except TimeoutError:
        raise InferenceTimeoutError from None


async def unless_caller_leaves(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`, whose request's body has been read; cancel it when the caller hangs up.

    Raises:
        ClientDisconnect: the caller hung up.
    """

    async def caller_leaves() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(caller_leaves())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
