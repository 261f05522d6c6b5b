"""Which model answers a request: the one it names, else one that takes its kind of prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set
from contextlib import suppress
from typing import Any, Protocol

from tritonclient.utils import InferenceServerException

from ovseg.served_models import ENSEMBLE, EVERYTHING, ServedModel, in_order, ready_ensembles
from ovseg_gateway.errors import InvalidRequestError

_FRESH_S = 5.0
_TIMEOUT_S = 5.0


class ModelIndexClient(Protocol):
    """The part of `tritonclient.grpc.aio.InferenceServerClient` that is used here."""

    async def get_inference_statistics(self, *, client_timeout: float | None = None) -> Any: ...

    async def get_model_config(
        self, model_name: str, *, client_timeout: float | None = None
    ) -> Any: ...


class ServedModels:
    """Asks Triton which models it serves, at most every few seconds."""

    def __init__(self, client: ModelIndexClient) -> None:
        self._client = client
        self._models: list[ServedModel] = []
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def ensemble_for(self, name: str | None, prompt_kinds: Set[str]) -> str:
        """The Triton model to call.

        Args:
            name: of a served model, as the request gives it, or None.
            prompt_kinds: some of "box", "point" and "everything"; the first model that takes them
                is chosen, the default before others.

        Raises:
            InvalidRequestError: no model of that name is served, or it does not take such prompts.
        """
        models = await self._served(max_age_s=_FRESH_S)
        if name is not None and not any(model.name == name for model in models):
            models = await self._served(max_age_s=0.0)  # It may have been loaded just now.
        if name is None:
            able = [model for model in models if prompt_kinds <= set(model.prompt_kinds)]
            # With nothing known or nobody able, the ensemble's own error says it best.
            return able[0].ensemble if able else ENSEMBLE
        for model in models:
            if model.name == name:
                if refused := prompt_kinds - set(model.prompt_kinds):
                    raise InvalidRequestError.single(
                        "body.promptType", f"The model {name} takes no {min(refused)} prompts"
                    )
                return model.ensemble
        served = ", ".join(model.name for model in models if model.name)
        raise InvalidRequestError.single(
            "body.model", f"No such model is served; served: {served or 'the default only'}"
        )

    async def everything_for(self, name: str | None) -> str:
        """The Triton model that finds everything; `name` as of `ensemble_for`.

        Raises:
            InvalidRequestError: no model of that name is served, or none that can do it.
        """
        models = await self._served(max_age_s=_FRESH_S)
        if name is None and models and not any(EVERYTHING in m.prompt_kinds for m in models):
            raise InvalidRequestError.single(
                "body.promptType", f"No served model takes {EVERYTHING} prompts"
            )
        ensemble = await self.ensemble_for(name, {EVERYTHING})
        return EVERYTHING + ensemble.removeprefix(ENSEMBLE)

    def forget(self) -> None:
        """Ask Triton again before the next choice: a model turned out to be gone."""
        self._asked_at = float("-inf")

    async def _served(self, max_age_s: float) -> list[ServedModel]:
        async with self._lock:
            if time.monotonic() - self._asked_at > max_age_s:
                # If Triton does not answer, inference tells why; meanwhile what is known holds.
                with suppress(InferenceServerException):
                    self._models = await self._ask()
                self._asked_at = time.monotonic()
            return self._models

    async def _ask(self) -> list[ServedModel]:
        statistics = await self._client.get_inference_statistics(client_timeout=_TIMEOUT_S)
        configs = [
            await self._client.get_model_config(ensemble, client_timeout=_TIMEOUT_S)
            for ensemble in ready_ensembles(statistics)
        ]
        return in_order(ServedModel.from_config(answer.config) for answer in configs)
