"""Which models a running Triton serves, and loading and unloading them without a restart.

Sets are loaded by Triton's explicit model control (docs/protocol/extension_model_repository.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from google.protobuf import json_format

from ovseg.served_models import (
    EMBED,
    ENSEMBLE,
    ServedModel,
    in_order,
    ready_ensembles,
    triton_name,
)
from ovseg.server.errors import ServerStartError
from ovseg.server.model_sets import (
    BEFORE_FINGERPRINT,
    STAGES,
    TRITON_MODELS,
    WEIGHTS_PARAMETER,
    parameters_of,
    render_set,
    rendered_repository,
    write_further_set,
    write_set,
)
from ovseg.server.triton_admin import admin_client
from ovseg.settings import Settings

_LOADED_AT_PARAMETER = "loaded_at"


class ModelControlError(ServerStartError):
    """A model cannot be loaded or unloaded; one line says why."""


class ModelControl:
    """Loads and unloads models in a Triton that is reached over gRPC."""

    def __init__(self, client: Any) -> None:
        """Use an open `tritonclient.grpc.InferenceServerClient`."""
        self._client = client

    def load(
        self,
        settings: Settings,
        model: str,
        *,
        is_default: bool = False,
        without: Collection[str] = (),
    ) -> ServedModel:
        """Serve an installed model, beside those that are served already.

        Loading a served model again replaces it with what is installed now; requests to the others
        are not touched.

        Args:
            settings: where things are.
            model: the installed model's name.
            is_default: make it the default of a Triton that has just started.
            without: stages of its set that can wait, by their plain names.

        Raises:
            ModelNotInstalledError: there is no such model.
            ModelControlError: Triton cannot load it (nothing of it stays loaded), or we may not.
        """
        from tritonclient.utils import InferenceServerException

        self._check_access()
        parameters = parameters_of(settings, model)
        repository = settings.model_repository
        is_again = not is_default and self._is_default(model)
        try:
            if is_default:
                # Its stages are loaded already; the ensemble learns what it serves.
                configs = render_set(repository, model, True, parameters)
                self._load_with(configs[ENSEMBLE])
            elif is_again:
                # Triton would do nothing: its own files are the same as before.
                parameters[_LOADED_AT_PARAMETER] = str(time.time())
                fingerprint = parameters[WEIGHTS_PARAMETER]
                configs = render_set(repository, model, True, parameters, fingerprint)
                embed = {EMBED: configs[EMBED]}
                write_set(embed, repository, rendered_repository(settings))
                self._load_set(configs, with_content=True)
            else:
                configs = write_further_set(settings, model)
                self._load_set(configs, with_content=False, without=without)
            plain_embed = triton_name(EMBED, model, is_default or is_again)
            self._unload_embeds(plain_embed, configs[EMBED].name)
        except InferenceServerException as error:
            if not is_default and not is_again:
                self._unload_set(model)
            raise ModelControlError(f"cannot load {model}: {_cause(error)}") from None
        return ServedModel.from_config(configs[ENSEMBLE])

    def unload(self, model: str) -> None:
        """Stop serving a model that is not the default; requests under way finish.

        Raises:
            ModelControlError: it is not served, is the default, or we may not unload it.
        """
        self._check_access()
        served = {candidate.name: candidate for candidate in self.served()}
        if model not in served:
            raise ModelControlError(f"{model} is not served; served: {', '.join(served)}")
        if served[model].is_default:
            raise ModelControlError(
                f"{model} is the default model: set OVSEG_MODEL to another and restart"
            )
        self._unload_set(model)

    def load_triton_model(self, name: str, timeout_s: float | None = None) -> None:
        """Load a single Triton model; does nothing if it is there.

        Raises:
            ModelControlError: it cannot be loaded.
        """
        from tritonclient.utils import InferenceServerException

        try:
            self._client.load_model(name, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise ModelControlError(f"cannot load {name}: {_cause(error)}") from None

    def reload(self, triton_models: Sequence[str], timeout_s: float) -> None:
        """Replace single Triton models whose processes have died.

        Triton loads the ensembles that depend on them again by itself, with the configuration that
        they had. A load alone would do nothing: Triton believes that the model is there.

        Raises:
            ModelControlError: one of them cannot be loaded.
        """
        from tritonclient.utils import InferenceServerException

        for name in triton_models:
            with suppress(InferenceServerException):  # An attempt before this one unloaded it.
                self._client.unload_model(name, client_timeout=timeout_s)
        for name in triton_models:
            self.load_triton_model(name, timeout_s)

    def served(self, timeout_s: float | None = None) -> list[ServedModel]:
        """Models whose ensemble is ready, the default first."""
        names = ready_ensembles(self._client.get_inference_statistics(client_timeout=timeout_s))
        configs = [
            self._client.get_model_config(name, client_timeout=timeout_s).config for name in names
        ]
        return in_order(ServedModel.from_config(config) for config in configs)

    def _is_default(self, model: str) -> bool:
        return any(served.is_default and served.name == model for served in self.served())

    def _check_access(self) -> None:
        from tritonclient.utils import InferenceServerException

        try:
            self._client.get_model_repository_index()
        except InferenceServerException as error:
            if "restricted" not in str(error.message()):
                raise
            raise ModelControlError(
                "models are loaded and unloaded by the user who started Triton, on its machine "
                "(or set OVSEG_TRITON_OPEN_PROTOCOLS=model-repository there)"
            ) from None

    def _load_set(
        self, configs: dict[str, Any], with_content: bool, without: Collection[str] = ()
    ) -> None:
        """Load a set: its stages, each of which is a process to start, at the same time."""

        def load(plain_name: str) -> None:
            if with_content and plain_name != EMBED:  # It is written, under a name of its own.
                self._load_with(configs[plain_name])
            else:
                self._client.load_model(configs[plain_name].name)

        stages = [name for name in STAGES if name not in without]
        with ThreadPoolExecutor(len(stages)) as pool:
            list(pool.map(load, stages))
        load(EMBED)
        load(ENSEMBLE)

    def _load_with(self, config: Any) -> None:
        content = json_format.MessageToJson(config, preserving_proto_field_name=True)
        self._client.load_model(config.name, config=content)

    def _unload_embeds(self, plain_name: str, current: str | None = None) -> None:
        """Unload those that are named after weights, but for the current one."""
        statistics = self._client.get_inference_statistics()
        for name in {entry.name for entry in statistics.model_stats}:
            if name.startswith(plain_name + BEFORE_FINGERPRINT) and name != current:
                self._client.unload_model(name)

    def _unload_set(self, model: str) -> None:
        from tritonclient.utils import InferenceServerException

        with suppress(InferenceServerException):
            self._unload_embeds(triton_name(EMBED, model, is_default=False))
        for triton_model in reversed(TRITON_MODELS):
            with suppress(InferenceServerException):  # It was not loaded.
                self._client.unload_model(triton_name(triton_model, model, is_default=False))


def _cause(error: Any) -> str:
    # "failed to load 'x', version 1 is at UNAVAILABLE state: Internal: Cause: why\n\nAt:\n…;"
    message = str(error.message()).partition("\n\nAt:")[0]
    return message.rpartition("UNAVAILABLE state: Internal: ")[2].strip() or message


@contextmanager
def connected(address: str) -> Iterator[ModelControl]:
    """Model control of the Triton at host:port."""
    with admin_client(address) as client:
        yield ModelControl(client)
