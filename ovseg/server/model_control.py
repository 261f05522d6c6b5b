"""Which models a running Triton serves, and loading and unloading them without a restart.

Each served model is a set of Triton models: the stages, `embed`, and the ensemble. The default
model's have their plain names and are `model_repository/` itself. Another model M has a set of
its own, `<name>.M`: the same files with the names changed and the parameter `model` set, rendered
into `<OVSEG_MODEL_DIR>/.triton`, which Triton has as a second repository, and loaded by Triton's
explicit model control (docs/protocol/extension_model_repository.md).

Triton's cache keeps embeddings by the name of `embed` and the image. Where other weights may have
been served under a model's name before, its `embed` is therefore named after its weights too,
`embed.M~<fingerprint>`: only the default of a Triton that has just started has a plain one.

(Triton can also be handed a model's files in the load call, but then refuses an ensemble of such
models: it looks for an ensemble's steps in its repositories.)
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format

from ovseg.manifest import ModelManifest
from ovseg.served_models import (
    EMBED,
    ENSEMBLE,
    MODEL_PARAMETER,
    PROMPT_KINDS_PARAMETER,
    ServedModel,
    in_order,
    ready_ensembles,
    triton_name,
)
from ovseg.server.errors import ServerStartError
from ovseg.server.triton_admin import admin_client
from ovseg.settings import Settings

# In the order in which they can be loaded: an ensemble needs its steps.
TRITON_MODELS = (
    "preprocess",
    "sam_encoder",
    "prompt_decoder",
    "postprocess",
    "visualize",
    EMBED,
    ENSEMBLE,
)

_WEIGHTS_PARAMETER = "weights"
_LOADED_AT_PARAMETER = "loaded_at"
_BEFORE_FINGERPRINT = "~"


class ModelControlError(ServerStartError):
    """A model cannot be loaded or unloaded; one line says why."""


class ModelControl:
    """Loads and unloads models in a Triton that is reached over gRPC."""

    def __init__(self, client: Any) -> None:
        """Use an open `tritonclient.grpc.InferenceServerClient`."""
        self._client = client

    def load(self, settings: Settings, model: str, *, is_default: bool = False) -> ServedModel:
        """Serve an installed model, beside those that are served already.

        Loading a served model again replaces it with what is installed now; requests to the others
        are not touched.

        Args:
            settings: where things are.
            model: the installed model's name.
            is_default: make it the default of a Triton that has just started.

        Raises:
            ModelNotInstalledError: there is no such model.
            ModelControlError: Triton cannot load it (nothing of it stays loaded), or we may not.
        """
        from tritonclient.utils import InferenceServerException

        self._check_access()
        manifest = ModelManifest.load(settings.model_dir / model)
        is_again = not is_default and self._is_default(model)
        is_default = is_default or is_again
        fingerprint = weights_fingerprint(settings.model_dir / model)
        parameters = {
            MODEL_PARAMETER: model,
            PROMPT_KINDS_PARAMETER: ",".join(manifest.prompt_kinds),
            # With other weights other files, so that Triton loads them again.
            _WEIGHTS_PARAMETER: fingerprint,
        }
        if is_again:
            # Triton would do nothing: its own files are the same as before.
            parameters[_LOADED_AT_PARAMETER] = str(time.time())
        is_first = is_default and not is_again
        configs = render_set(
            settings.model_repository,
            model,
            is_default,
            parameters,
            "" if is_first else fingerprint,
        )
        target = rendered_repository(settings)
        try:
            if is_first:
                # Its stages are loaded already; the ensemble learns what it serves.
                self._load_with(configs[ENSEMBLE])
            elif is_again:
                write_set({EMBED: configs[EMBED]}, settings.model_repository, target)
                self._load_set(configs, with_content=True)
            else:
                write_set(configs, settings.model_repository, target)
                self._load_set(configs, with_content=False)
            self._unload_embeds(triton_name(EMBED, model, is_default), configs[EMBED].name)
        except InferenceServerException as error:
            if not is_default:
                self._unload_set(model)
            raise ModelControlError(f"cannot load {model}: {_cause(error)}") from None
        return ServedModel(
            model, triton_name(ENSEMBLE, model, is_default), manifest.prompt_kinds, is_default
        )

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
            try:
                self._client.load_model(name, client_timeout=timeout_s)
            except InferenceServerException as error:
                raise ModelControlError(f"cannot load {name}: {_cause(error)}") from None

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

    def _load_set(self, configs: dict[str, Any], with_content: bool) -> None:
        """Load a set: its stages, each of which is a process to start, at the same time."""

        def load(plain_name: str) -> None:
            if with_content and plain_name != EMBED:  # It is written, under a name of its own.
                self._load_with(configs[plain_name])
            else:
                self._client.load_model(configs[plain_name].name)

        stages = [name for name in configs if name not in (EMBED, ENSEMBLE)]
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
            if name.startswith(plain_name + _BEFORE_FINGERPRINT) and name != current:
                self._client.unload_model(name)

    def _unload_set(self, model: str) -> None:
        from tritonclient.utils import InferenceServerException

        with suppress(InferenceServerException):
            self._unload_embeds(triton_name(EMBED, model, is_default=False))
        for triton_model in reversed(TRITON_MODELS):
            with suppress(InferenceServerException):  # It was not loaded.
                self._client.unload_model(triton_name(triton_model, model, is_default=False))


def rendered_repository(settings: Settings) -> Path:
    """Triton's second model repository, for the sets of models other than the default."""
    return settings.model_dir / ".triton"


def weights_fingerprint(model_folder: Path) -> str:
    """12 hexadecimal digits that change when an installed model is imported anew."""
    files = sorted(path for path in model_folder.rglob("*") if path.is_file())
    found = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12]


def render_set(
    repository: Path,
    model: str,
    is_default: bool,
    parameters: dict[str, str],
    fingerprint: str = "",
) -> dict[str, Any]:
    """The configurations of one served model's set.

    Args:
        repository: the model repository with the plain set.
        model: the installed model's name.
        is_default: whether the names stay plain.
        parameters: added to each configuration's.
        fingerprint: of its weights, where `embed` has to be named after them.

    Returns:
        `ModelConfig` messages by the plain name of their Triton model, in loading order.
    """
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    def name_in_set(plain_name: str) -> str:
        name = triton_name(plain_name, model, is_default)
        is_marked = fingerprint and plain_name == EMBED
        return f"{name}{_BEFORE_FINGERPRINT}{fingerprint}" if is_marked else name

    configs = {}
    for plain_name in TRITON_MODELS:
        text = (repository / plain_name / "config.pbtxt").read_text("utf-8")
        config = text_format.Parse(text, ModelConfig())
        config.name = name_in_set(plain_name)
        for step in config.ensemble_scheduling.step:
            step.model_name = name_in_set(step.model_name)
        for name, value in parameters.items():
            config.parameters[name].string_value = value
        configs[plain_name] = config
    return configs


def write_set(configs: dict[str, Any], repository: Path, target: Path) -> None:
    """Write rendered configurations, each with its Triton model's version folder, below `target`.

    What is there already and the same is left alone, so that Triton reloads nothing for it.
    """
    for plain_name, config in configs.items():
        folder = target / config.name
        shutil.copytree(repository / plain_name / "1", folder / "1", dirs_exist_ok=True)
        file = folder / "config.pbtxt"
        text = text_format.MessageToString(config)
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def _cause(error: Any) -> str:
    # "failed to load 'x', version 1 is at UNAVAILABLE state: Internal: Cause: why\n\nAt:\n…;"
    message = str(error.message()).partition("\n\nAt:")[0]
    return message.rpartition("UNAVAILABLE state: Internal: ")[2].strip() or message


@contextmanager
def connected(address: str) -> Iterator[ModelControl]:
    """Model control of the Triton at host:port."""
    with admin_client(address) as client:
        yield ModelControl(client)
