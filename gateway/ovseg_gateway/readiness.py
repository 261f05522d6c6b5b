"""Whether the service can answer now: found out by answering, not by asking Triton's flags.

Triton goes on calling a model ready after the process behind it has died.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time

from ovseg.server.service_status import StatusReader
from ovseg_gateway.errors import GatewayError, InvalidRequestError
from ovseg_gateway.inference import Question, Segmenter
from ovseg_gateway.prompt_tensors import of_rows
from ovseg_gateway.routes_to_replicas import elsewhere

# An 8x8 grey PNG; Triton's cache knows it after the first probe.
PROBE_IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJ"
    "RU5ErkJggg=="
)
_PROBE = Question(PROBE_IMAGE, "probe", of_rows([[1.0, 1.0, 6.0, 6.0]], "box"), visualize=True)
_FRESH_S = 5.0
_ROUTES = 3
"""Of several Tritons behind a load balancer one that does not answer does not stop the others."""
_FLAGS_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 10.0

logger = logging.getLogger(__name__)


class Readiness:
    """Remembers the last proof that inference works and makes a new one when it is stale."""

    def __init__(self, segmenter: Segmenter, status: StatusReader | None = None) -> None:
        """Nothing is proven yet.

        Args:
            segmenter: runs the probe.
            status: what the supervisor sees, if there is one beside the gateway.
        """
        self._segmenter = segmenter
        self._status = status
        self._proven_at = float("-inf")
        self._lock = asyncio.Lock()

    def note_success(self) -> None:
        """Count a caller's successful request as proof."""
        self._proven_at = time.monotonic()

    async def is_ready(self) -> bool:
        """True after an inference within the last few seconds; runs a tiny one if there was none.

        The probe's embedding is mostly cached, since encoding takes long. What it does not exercise
        is known otherwise: a dead stage is seen by the supervisor, which has every stage answer a
        new image before it says that all is well again, and without a supervisor by the ensemble
        that Triton does not have while one of its stages is replaced.

        Concurrent callers share one probe.
        """
        async with self._lock:
            # A gateway beside its supervisor has one Triton; one alone may have several.
            for _ in range(1 if self._status else _ROUTES):
                route = elsewhere()
                if not await self._may_be_ready(route):
                    continue
                if time.monotonic() - self._proven_at <= _FRESH_S:
                    return True
                if await self._probe(route):
                    self.note_success()
                    return True
            self._proven_at = float("-inf")
            return False

    async def is_proven_again(self, route: str) -> bool:
        """Whether inference works on that route now; earlier proof does not count."""
        async with self._lock:
            self._proven_at = float("-inf")
            if not (await self._may_be_ready(route) and await self._probe(route)):
                return False
            self.note_success()
            return True

    async def _may_be_ready(self, route: str) -> bool:
        if self._status and not self._status.read().is_whole:
            return False
        return await self._segmenter.is_ready(_FLAGS_TIMEOUT_S, route)

    async def _probe(self, route: str) -> bool:
        try:
            await self._segmenter.segment(
                _PROBE,
                request_id="readiness",
                timeout_s=_PROBE_TIMEOUT_S,
                route=route,
                queued=False,
            )
        except InvalidRequestError as error:
            # A model without box prompts refuses them in its last stage: it does answer.
            return any(problem.loc == "body.prompt" for problem in error.problems)
        except GatewayError as error:
            logger.warning("not ready: %s", error)
            return False
        return True
