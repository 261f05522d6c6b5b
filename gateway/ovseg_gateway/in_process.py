"""The gateway without HTTP: the JSON of a request in, the JSON of its answer out.

The Triton model `open-vocabulary-segmentation`, which clients of PaddleX's high-stability serving
call, answers with it; so a request means the same, and is refused for the same reasons, over REST
and over that model.
"""

from __future__ import annotations

from contextlib import ExitStack

import httpx
from anyio.from_thread import start_blocking_portal

from ovseg.settings import Settings
from ovseg_gateway.app import create_app
from ovseg_gateway.inference import InferenceClient
from ovseg_gateway.segmentation_routes import PATH

_HEADERS = {"Content-Type": "application/json"}


class InProcessGateway:
    """An application in an event loop of its own, in a thread; any thread may ask it."""

    def __init__(self, settings: Settings, client: InferenceClient | None = None) -> None:
        """Start it.

        Args:
            settings: limits and defaults, and where Triton is. Tokens, rate limits and `imageId`
                are about HTTP callers and do not count here.
            client: replaces the connection to Triton.
        """
        not_here = {
            "token_hashes": "",
            "rate_limit": "",
            "image_store_bytes": 0,
            "mask_store_bytes": 0,
        }
        own = settings.model_copy(update=not_here)
        app = create_app(own, client=client)
        transport = httpx.ASGITransport(app)
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://in-process", timeout=None
        )
        self._running = ExitStack()
        self._portal = self._running.enter_context(start_blocking_portal())
        self._running.enter_context(
            self._portal.wrap_async_context_manager(app.router.lifespan_context(app))
        )

    def answer(self, body: bytes) -> bytes:
        """Answer one request.

        Args:
            body: JSON text, as of `POST /open-vocabulary-segmentation`.

        Returns:
            JSON text; its `errorCode` is 0, or what the HTTP status would have been.
        """
        return self._portal.call(self._post, body)

    def close(self) -> None:
        """Stop it."""
        self._running.close()

    async def _post(self, body: bytes) -> bytes:
        answer = await self._http.post(PATH, content=body, headers=_HEADERS)
        return answer.content
