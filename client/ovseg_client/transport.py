"""What REST and gRPC have in common; an asynchronous client will need the same two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ovseg_client.images import Image
from ovseg_client.prediction import Prediction
from ovseg_client.prompts import Prompts


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """One checked request, not yet in any wire format."""

    image: Image
    prompts: Prompts
    multimask: bool
    visualize: bool
    log_id: str | None
    model: str | None
    keep_masks: bool = False
    refine: Prediction | None = None


class Transport(Protocol):
    """Sends requests to one service and keeps its connections."""

    def predict(self, request: PredictRequest) -> Prediction: ...

    def is_ready(self) -> bool: ...

    def close(self) -> None: ...
