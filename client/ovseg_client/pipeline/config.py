"""A pipeline's configuration, in the layout of PaddleX's YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PIPELINE_NAME = "open_vocabulary_segmentation"
_SUFFIXES = (".yaml", ".yml")
_PROMPT_KINDS = ("Box", "Point")

DEFAULT_YAML = f"""\
pipeline_name: {PIPELINE_NAME}

# model_dir: an inference model of PaddleX's (a folder or .tar) that an embedded server shall serve;
# null: the model of the setting OVSEG_MODEL. A server that runs already chooses its models itself.
SubModules:
""" + "".join(
    f"""\
  {kind}PromptSegmentation:
    module_name: {kind.lower()}_prompt_segmentation
    model_name: SAM-H_{kind.lower()}
    model_dir: null
    batch_size: 1
"""
    for kind in _PROMPT_KINDS
)
"""What `ovseg --get_pipeline_config` writes; PaddleX reads it too."""


@dataclass(frozen=True)
class PipelineConfig:
    """The part of a configuration that means something here."""

    model_dirs: tuple[Path, ...] = ()
    """Models to serve, each once; empty: what the server serves anyway."""


def load_config(pipeline: str | None, config: Mapping[str, Any] | None) -> PipelineConfig:
    """The configuration that `create_pipeline`'s first two arguments mean.

    Args:
        pipeline: the pipeline's name or a YAML file.
        config: the content of such a file; it comes before `pipeline`.

    Raises:
        ValueError: neither, another pipeline, or a configuration of another layout.
        OSError: the file cannot be read.
    """
    if config is None:
        if pipeline is None:
            raise ValueError("give the pipeline's name, a YAML file, or a config")
        if not pipeline.endswith(_SUFFIXES):
            _check_name(pipeline)
            return PipelineConfig()
        try:
            config = yaml.safe_load(Path(pipeline).read_text("utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{pipeline} is not a YAML file: {error}") from None
    if not isinstance(config, Mapping):
        raise ValueError("a pipeline's configuration is a mapping with `pipeline_name`")
    _check_name(config.get("pipeline_name"))
    return PipelineConfig(_model_dirs(config.get("SubModules") or {}))


def _check_name(name: object) -> None:
    if name != PIPELINE_NAME:
        raise ValueError(f"there is one pipeline here, {PIPELINE_NAME}, not {name!r}")


def _model_dirs(modules: object) -> tuple[Path, ...]:
    if not isinstance(modules, Mapping):
        raise ValueError("`SubModules` of a pipeline's configuration must be a mapping")
    folders = []
    for kind in _PROMPT_KINDS:
        module = modules.get(f"{kind}PromptSegmentation") or {}
        folder = module.get("model_dir") if isinstance(module, Mapping) else None
        # PaddleX reads the text "None" as null.
        if folder not in (None, "", "None"):
            folders.append(Path(str(folder)))
    return tuple(dict.fromkeys(folders))
