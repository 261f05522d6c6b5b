"""What the routes share: made when the application starts, closed when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from tritonclient.grpc.aio import InferenceServerClient

from ovseg.grpc_channel import RECONNECT_SOON
from ovseg.server.service_status import StatusReader
from ovseg.settings import Settings
from ovseg.stage_reports import StageReports
from ovseg_gateway.admission import Admission
from ovseg_gateway.context import RequestContext
from ovseg_gateway.draining import Draining
from ovseg_gateway.everything import EverythingFinder
from ovseg_gateway.image_locks import ImageLocks
from ovseg_gateway.image_source import ImageSource
from ovseg_gateway.inference import InferenceClient, Segmenter
from ovseg_gateway.readiness import Readiness
from ovseg_gateway.recovery import Recovery
from ovseg_gateway.references import References, image_id_of
from ovseg_gateway.single_flight import SingleFlight
from ovseg_gateway.url_fetcher import ImageFetcher

_EMBEDDING_BYTES = 256 * 64 * 64 * 4
"""Of SAM's models, the largest that there are."""
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    *RECONNECT_SOON,
]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Gateway:
    """The parts of a running gateway."""

    settings: Settings
    segmenter: Segmenter
    everything: EverythingFinder
    images: ImageSource
    references: References
    readiness: Readiness
    admission: Admission
    recovery: Recovery
    draining: Draining
    status: StatusReader | None = None
    """What the supervisor says, where there is one beside the gateway."""

    async def image_of(
        self, image: str, image_id: str | None, context: RequestContext
    ) -> tuple[bytes, str]:
        """A request's image file, which `image` holds or `image_id` names; and its id.

        Raises:
            GatewayError: there is none; see `ImageSource.load` and `References.image`.
        """
        if image_id is not None and not image:
            return self.references.image(image_id), image_id
        file = await self.images.load(image, context)
        return file, await image_id_of(file)


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    client: InferenceClient | None,
    admission: Admission,
    status: StatusReader | None,
    draining: Draining,
) -> AsyncIterator[Gateway]:
    """Connect the parts; `client` replaces the connection to Triton (tests do)."""
    reports = StageReports()
    client = client or InferenceServerClient(settings.triton_grpc_address, channel_args=_CHANNEL)
    single_flight = SingleFlight(
        settings.cache_size_bytes // _EMBEDDING_BYTES, _open_locks(settings)
    )
    segmenter = Segmenter(client, single_flight, admission, settings.request_timeout_s, reports)
    everything = EverythingFinder(
        client,
        segmenter.models,
        single_flight,
        admission,
        settings.everything_max_waiting,
        reports,
    )
    readiness = Readiness(segmenter, status)
    fetcher = ImageFetcher(settings)
    loop = asyncio.get_running_loop()
    loop.add_reader(reports, reports.receive)
    try:
        yield Gateway(
            settings=settings,
            segmenter=segmenter,
            everything=everything,
            images=ImageSource(fetcher, settings.max_image_bytes),
            references=References(settings),
            readiness=readiness,
            admission=admission,
            recovery=Recovery(readiness, status, settings.recovery_wait_s),
            draining=draining,
            status=status,
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
