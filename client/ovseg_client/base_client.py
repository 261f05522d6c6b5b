"""What `Client` and `AsyncClient` do alike: everything except waiting."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from ovseg_client.batch import BatchResult
from ovseg_client.everything import (
    Everything,
    EverythingOptions,
    everything_request,
)
from ovseg_client.images import Image, LoadedImage, load_image
from ovseg_client.prediction import Prediction
from ovseg_client.progress import Progress, reporting
from ovseg_client.request import PredictArguments, PredictOptions, predict_request
from ovseg_client.retrying import Deadline
from ovseg_client.transport import Transport
from ovseg_client.waiting import Asyncio, Blocking

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_ADDRESS = "http://localhost:8080"
TOKEN_VARIABLE = "OVSEG_TOKEN"


class BaseClient:
    """Connects to one service; see `Client`."""

    _waiting: ClassVar[Blocking | Asyncio]

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = 120.0,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        retries: int = 2,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be positive, not {timeout}")
        if retries < 0:
            raise ValueError(f"retries must not be negative, not {retries}")
        self._timeout_s = timeout
        self._transport = _connect(address, timeout, token, ca_file, retries, self._waiting)

    async def _load(self, source: Image) -> LoadedImage:
        return await self._waiting.work(load_image, source)

    async def _predict(
        self, image: Image | LoadedImage, **options: Unpack[PredictOptions]
    ) -> Prediction:
        deadline = Deadline.after(self._timeout_s)
        request = predict_request(**options)
        loaded = image if isinstance(image, LoadedImage) else await self._load(image)
        return await self._transport.predict(loaded, request, deadline)

    async def _everything(
        self,
        image: Image | LoadedImage,
        progress: Progress,
        **options: Unpack[EverythingOptions],
    ) -> Everything:
        deadline = Deadline.after(self._timeout_s)
        request = everything_request(**options)
        loaded = image if isinstance(image, LoadedImage) else await self._load(image)
        with reporting(progress) as report:
            return await self._transport.everything(loaded, request, report, deadline)

    async def _predict_item(self, index: int, item: PredictArguments) -> BatchResult:
        try:
            return BatchResult(index, item, prediction=await self._predict(**item))
        except Exception as error:
            return BatchResult(index, item, error=error)


def _connect(
    address: str,
    timeout_s: float,
    token: str | None,
    ca_file: str | os.PathLike[str] | None,
    retries: int,
    waiting: Blocking | Asyncio,
) -> Transport:
    scheme, separator, host = address.partition("://")
    is_address = bool(separator and host)
    blocks = isinstance(waiting, Blocking)
    if is_address and scheme in ("http", "https"):
        from ovseg_client import rest_transport as rest

        options = rest.http_options(address, token or os.environ.get(TOKEN_VARIABLE), ca_file)
        http: rest.Http = rest.BlockingHttp(options) if blocks else rest.AsyncioHttp(options)
        return rest.RestTransport(http, waiting, timeout_s, retries)
    if is_address and scheme in ("grpc", "grpcs"):
        from ovseg_client import grpc_transport as grpc

        if token is not None:
            raise ValueError("Triton (grpc://) knows no tokens; use the gateway's http(s) address")
        host = host.rstrip("/")
        options = grpc.triton_options(scheme == "grpcs", ca_file)
        triton: grpc.Triton = (
            grpc.BlockingTriton(host, options) if blocks else grpc.AsyncioTriton(host, options)
        )
        return grpc.GrpcTransport(host, triton, waiting, retries)
    raise ValueError(
        f"{address!r} is no address of the service: http://host:8080 or grpc://host:8001"
    )
