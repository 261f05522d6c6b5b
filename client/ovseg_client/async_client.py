"""The client for programs with an asyncio event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ovseg_client.base_client import BaseClient
from ovseg_client.batch import BatchResult, Tasks, check_concurrency, results_in_order
from ovseg_client.everything import Everything, EverythingOptions
from ovseg_client.images import Image, LoadedImage
from ovseg_client.prediction import Prediction
from ovseg_client.progress import Progress
from ovseg_client.request import PredictArguments, PredictOptions
from ovseg_client.waiting import Asyncio

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same arguments, methods, results and errors.

    It belongs to the event loop of its first call. Files are read and images encoded in threads.
    A call that is cancelled, or takes longer than `timeout`, ends at once.
    """

    _waiting = Asyncio()

    async def predict(self, image: Image, **options: Unpack[PredictOptions]) -> Prediction:
        """See `Client.predict`."""
        return await self._predict(image, **options)

    async def everything(
        self, image: Image, *, progress: Progress = False, **options: Unpack[EverythingOptions]
    ) -> Everything:
        """See `Client.everything`."""
        return await self._everything(image, progress, **options)

    async def image(self, source: Image) -> AsyncImageSession:
        """See `Client.image`."""
        return AsyncImageSession(self, await self._load(source))

    def predict_many(
        self,
        items: Iterable[PredictArguments],
        *,
        concurrency: int = 4,
        progress: Progress = False,
    ) -> AsyncGenerator[BatchResult, None]:
        """See `Client.predict_many`; to be read with `async for`.

        Who leaves that loop early should close the iterator (`contextlib.aclosing`), which cancels
        what still runs.
        """
        check_concurrency(concurrency)
        workers = Tasks(self._predict_item, concurrency)
        return results_in_order(items, workers, concurrency, progress)

    async def is_ready(self) -> bool:
        """Whether the service would answer now."""
        return await self._transport.is_ready()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncImageSession:
    """`ImageSession` for asyncio; made by `AsyncClient.image`."""

    def __init__(self, client: AsyncClient, image: LoadedImage) -> None:
        self._client = client
        self._image = image

    async def predict(self, **options: Unpack[PredictOptions]) -> Prediction:
        """See `ImageSession.predict`."""
        return await self._client._predict(self._image, **options)

    async def everything(
        self, *, progress: Progress = False, **options: Unpack[EverythingOptions]
    ) -> Everything:
        """See `ImageSession.everything`."""
        return await self._client._everything(self._image, progress, **options)
