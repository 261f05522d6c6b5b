"""What REST and gRPC have in common, for `Client` and for `AsyncClient`."""

from __future__ import annotations

from typing import Protocol

from ovseg_client.everything import Everything, EverythingRequest, Report
from ovseg_client.images import LoadedImage
from ovseg_client.prediction import Prediction
from ovseg_client.request import PredictRequest
from ovseg_client.retrying import Deadline


class Transport(Protocol):
    """Sends requests to one service and keeps its connections."""

    async def predict(
        self, image: LoadedImage, request: PredictRequest, deadline: Deadline
    ) -> Prediction:
        """Send one request, and send it again where that is safe and may help.

        Raises:
            ValueError: what is to be refined was not kept.
            OvsegError: the service refused or failed, ran out of time, or cannot be reached.
        """
        ...

    async def everything(
        self, image: LoadedImage, request: EverythingRequest, report: Report, deadline: Deadline
    ) -> Everything:
        """Send one such request, as `predict` does, and report while it is answered.

        Raises:
            OvsegError: see `predict`.
        """
        ...

    async def is_ready(self) -> bool:
        """Whether a request would be answered now."""
        ...

    async def close(self) -> None:
        """Close the connections."""
