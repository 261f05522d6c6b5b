"""A request and a process that crashes: it waits until the process is replaced, and is tried again.

That is safe, since a segmentation changes nothing. It is tried again once only: a request that ends
its stage twice is probably the cause. Nobody waits longer than `recovery_wait_s` after the trouble
began, so that a service that stays broken refuses at once.

Beside a supervisor its status file says what works; a gateway alone finds out by probes. Those go
where the request would go; if there is a load balancer with several Tritons, they then try others,
and the request follows the first that works.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ovseg.server.service_status import StatusReader
from ovseg_gateway.errors import InvalidRequestError, RecoveringError
from ovseg_gateway.readiness import Readiness
from ovseg_gateway.routes_to_replicas import elsewhere

_NOTICE_S = 0.3
"""After which the supervisor surely knows of a crash."""
_POLL_S = 0.05
_PROBE_INTERVAL_S = 0.2

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Recovery:
    """Wraps inference."""

    def __init__(self, readiness: Readiness, status: StatusReader | None, wait_s: float) -> None:
        """Nothing is known to be broken yet.

        Args:
            readiness: probes, where there is no supervisor.
            status: what the supervisor says, if there is one.
            wait_s: longest time to wait after the trouble began.
        """
        self._readiness = readiness
        self._status = status
        self._wait_s = wait_s
        self._broken_since: float | None = None

    async def run(
        self, infer: Callable[[str], Awaitable[Result]], image_id: str, model: str | None
    ) -> Result:
        """Do it, if need be twice.

        Args:
            infer: takes the route to one of several Tritons.
            image_id: the route at first.
            model: the served model that the request names, if any.

        Raises:
            RecoveringError: a crash ended it again, or nothing works for longer than `wait_s`.
        """
        if self._status:
            await self._until_whole(self._status, model)
        try:
            result = await infer(image_id)
        except RecoveringError as error:
            logger.warning("a crash ended a request, which is tried again")
            route = await self._until_recovered(error, image_id, model)
        except InvalidRequestError as error:
            # A model is not listed while one of its stages is being replaced.
            if not (self._status and self._status.read().is_broken_for(model)):
                raise
            route = await self._until_recovered(error, image_id, model)
        else:
            self._broken_since = None
            return result
        return await infer(route)

    async def _until_recovered(self, error: Exception, image_id: str, model: str | None) -> str:
        """Wait; a route that works."""
        if self._wait_s == 0:
            raise error
        self._note_trouble()
        if self._status:
            await asyncio.sleep(_NOTICE_S)
            await self._until_whole(self._status, model)
            return image_id
        route = image_id
        while not await self._readiness.is_proven_again(route):
            self._check_patience()
            await asyncio.sleep(_PROBE_INTERVAL_S)
            route = elsewhere()
        self._broken_since = None
        return route

    async def _until_whole(self, status: StatusReader, model: str | None) -> None:
        while status.read().is_broken_for(model):
            self._note_trouble()
            self._check_patience()
            await asyncio.sleep(_POLL_S)
        self._broken_since = None

    def _note_trouble(self) -> None:
        if self._broken_since is None:
            self._broken_since = time.monotonic()

    def _check_patience(self) -> None:
        since = self._broken_since
        if since is not None and time.monotonic() - since >= self._wait_s:
            raise RecoveringError
