"""What the routes share: made when the application starts, closed when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from tritonclient.grpc.aio import InferenceServerClient

from ovseg.settings import Settings
from ovseg_gateway.image_source import ImageSource
from ovseg_gateway.inference import InferenceClient, Segmenter
from ovseg_gateway.readiness import Readiness
from ovseg_gateway.url_fetcher import ImageFetcher


@dataclass(slots=True)
class Gateway:
    """The parts of a running gateway."""

    settings: Settings
    segmenter: Segmenter
    images: ImageSource
    readiness: Readiness
    draining: bool = False
    """Set before shutdown: `/health/ready` answers 503 while requests under way finish."""


@asynccontextmanager
async def open_gateway(
    settings: Settings, client: InferenceClient | None
) -> AsyncIterator[Gateway]:
    """Connect the parts; `client` replaces the connection to Triton (tests do)."""
    segmenter = Segmenter(client or InferenceServerClient(settings.triton_grpc_address))
    fetcher = ImageFetcher(settings)
    try:
        yield Gateway(
            settings=settings,
            segmenter=segmenter,
            images=ImageSource(fetcher, settings.max_image_bytes),
            readiness=Readiness(segmenter),
        )
    finally:
        await fetcher.aclose()
        await segmenter.aclose()


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
