"""The sets of Triton models that serve installed models: their names, and their files.

Each served model is a set of Triton models: the stages, `embed`, and the ensemble. The default
model's have their plain names and are `model_repository/` itself. Another model M has a set of
its own, `<name>.M`: the same files with the names changed and the parameter `model` set, rendered
into `<OVSEG_MODEL_DIR>/.triton`, which Triton has as a second repository.

Triton's cache keeps embeddings by the name of `embed` and the image. Where other weights may have
been served under a model's name before, its `embed` is therefore named after its weights too,
`embed.M~<fingerprint>`: only the default of a Triton that has just started has a plain one.

(Triton can also be handed a model's files in the load call, but then refuses an ensemble of such
models: it looks for an ensemble's steps in its repositories.)
"""

from __future__ import annotations

import compileall
import filecmp
import hashlib
import shutil
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from ovseg.manifest import ModelManifest
from ovseg.served_models import (
    EMBED,
    ENSEMBLE,
    EVERYTHING,
    MODEL_PARAMETER,
    PROMPT_KINDS_PARAMETER,
    triton_name,
)
from ovseg.settings import Settings

# In the order in which they can be loaded: an ensemble needs its steps. (`everything` calls others
# too, but only when it is asked.)
TRITON_MODELS = (
    "preprocess",
    "sam_encoder",
    "prompt_decoder",
    "postprocess",
    "visualize",
    EVERYTHING,
    EMBED,
    ENSEMBLE,
)
STAGES = tuple(name for name in TRITON_MODELS if name not in (EMBED, ENSEMBLE))
"""Those with processes of their own; ensembles have none."""

WEIGHTS_PARAMETER = "weights"
"""Holds the fingerprint of a model's weights."""
BEFORE_FINGERPRINT = "~"
"""In the name of an `embed` that is named after its model's weights."""


def parameters_of(settings: Settings, model: str) -> dict[str, str]:
    """What the configurations of a model's set say of it.

    Raises:
        ModelNotInstalledError: there is no such model.
    """
    manifest = ModelManifest.load(settings.model_dir / model)
    kinds = [*manifest.prompt_kinds, *([EVERYTHING] if manifest.predicts_iou else [])]
    return {
        MODEL_PARAMETER: model,
        PROMPT_KINDS_PARAMETER: ",".join(kinds),
        # With other weights other files, so that Triton loads them again.
        WEIGHTS_PARAMETER: weights_fingerprint(settings.model_dir / model),
    }


def write_further_set(settings: Settings, model: str) -> dict[str, Any]:
    """Write the set of a model beside the default; its configurations as of `render_set`.

    Raises:
        ModelNotInstalledError: there is no such model.
    """
    parameters = parameters_of(settings, model)
    fingerprint = parameters[WEIGHTS_PARAMETER]
    configs = render_set(settings.model_repository, model, False, parameters, fingerprint)
    write_set(configs, settings.model_repository, rendered_repository(settings))
    return configs


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
        return f"{name}{BEFORE_FINGERPRINT}{fingerprint}" if is_marked else name

    configs = {}
    for plain_name in TRITON_MODELS:
        text = (repository / plain_name / "config.pbtxt").read_text("utf-8")
        config = text_format.Parse(text, ModelConfig())
        config.name = name_in_set(plain_name)
        for step in config.ensemble_scheduling.step:
            step.model_name = name_in_set(step.model_name)
        for called in TRITON_MODELS:  # A stage that calls others finds their names there.
            if called in config.parameters:
                config.parameters[called].string_value = name_in_set(called)
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
        _copy_new(repository / plain_name / "1", folder / "1")
        file = folder / "config.pbtxt"
        text = text_format.MessageToString(config)
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def _copy_new(source: Path, target: Path) -> None:
    """Copy the files of a folder that are missing or different; Triton looks at times of change."""
    target.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in source.iterdir() if path.is_file()]
    _, different, missing = filecmp.cmpfiles(source, target, names, shallow=False)
    for name in (*different, *missing):
        shutil.copy2(source / name, target / name)
    compileall.compile_dir(target, quiet=2)  # See `TritonProcess.start`.
