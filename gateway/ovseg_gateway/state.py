"""What the routes share: made when the application starts, closed when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from tritonclient.grpc.aio import InferenceServerClient

from ovseg.settings import Settings
from ovseg.stage_reports import StageReports
from ovseg_gateway.admission import Admission
from ovseg_gateway.image_locks import ImageLocks
from ovseg_gateway.image_source import ImageSource
from ovseg_gateway.inference import InferenceClient, Segmenter
from ovseg_gateway.readiness import Readiness
from ovseg_gateway.single_flight import SingleFlight
from ovseg_gateway.url_fetcher import ImageFetcher

_EMBEDDING_BYTES = 256 * 64 * 64 * 4
"""Of SAM's models, the largest that there are."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Gateway:
    """The parts of a running gateway."""

    settings: Settings
    segmenter: Segmenter
    images: ImageSource
    readiness: Readiness
    admission: Admission
    draining: bool = False
    """Set before shutdown: `/health/ready` answers 503 while requests under way finish."""


@asynccontextmanager
async def open_gateway(
    settings: Settings, client: InferenceClient | None, admission: Admission
) -> AsyncIterator[Gateway]:
    """Connect the parts; `client` replaces the connection to Triton (tests do)."""
    reports = StageReports()
    segmenter = Segmenter(
        client or InferenceServerClient(settings.triton_grpc_address),
        SingleFlight(settings.cache_size_bytes // _EMBEDDING_BYTES, _open_locks(settings)),
        admission,
        settings.request_timeout_s,
        reports,
    )
    fetcher = ImageFetcher(settings)
    loop = asyncio.get_running_loop()
    loop.add_reader(reports, reports.receive)
    try:
        yield Gateway(
            settings=settings,
            segmenter=segmenter,
            images=ImageSource(fetcher, settings.max_image_bytes),
            readiness=Readiness(segmenter),
            admission=admission,
        )
    finally:
        loop.remove_reader(reports)
        await fetcher.aclose()
        await segmenter.aclose()


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def _open_locks(settings: Settings) -> ImageLocks | None:
    """Locks shared with other gateways; without them an image is encoded once by each."""
    try:
        return ImageLocks(settings.triton_grpc_address)
    except OSError as error:
        logger.warning("gateways on this machine do not know of each other: %s", error)
        return None
