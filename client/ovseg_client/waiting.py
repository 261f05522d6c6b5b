"""How a client waits, the only thing in which `Client` and `AsyncClient` differ.

What a call does is written once, as coroutines. Those of `AsyncClient` run in the caller's event
loop. Those of `Client` get parts that block instead of awaiting, so that they run from beginning to
end in one step, without an event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from ovseg_client.errors import RequestTimeoutError

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


class Waiting(Protocol):
    """What a call waits for, besides its transport."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    async def work(
        self, function: Callable[_P, _Result], *args: _P.args, **kwargs: _P.kwargs
    ) -> _Result:
        """What `function` returns, which reads files or computes for long."""
        ...

    async def within(self, seconds: float, reply: Awaitable[_Result]) -> _Result:
        """The reply.

        Raises:
            RequestTimeoutError: it takes longer. (`Blocking` leaves that to the socket.)
        """
        ...


class Blocking:
    """Blocks the thread."""

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def work(
        self, function: Callable[_P, _Result], *args: _P.args, **kwargs: _P.kwargs
    ) -> _Result:
        return function(*args, **kwargs)

    async def within(self, seconds: float, reply: Awaitable[_Result]) -> _Result:
        return await reply


class Asyncio:
    """Leaves the event loop to others meanwhile."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def work(
        self, function: Callable[_P, _Result], *args: _P.args, **kwargs: _P.kwargs
    ) -> _Result:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def within(self, seconds: float, reply: Awaitable[_Result]) -> _Result:
        try:
            return await asyncio.wait_for(reply, seconds)
        except asyncio.TimeoutError as error:  # noqa: UP041 (in Python 3.10 it is one of its own)
            raise RequestTimeoutError(504, "no answer in time") from error


def run_blocking(call: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine all of whose parts block."""
    try:
        call.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    call.close()
    raise RuntimeError("a part of this call awaits instead of blocking")
