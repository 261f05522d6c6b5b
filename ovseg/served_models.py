"""Which of Triton's models are the entrance to which installed model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ENSEMBLE = "open_vocabulary_segmentation"
"""Triton's name of the default model's ensemble; another model M has `ENSEMBLE.M`."""

EMBED = "embed"
"""Triton's name of the default model's cached ensemble, from an image file to its embedding."""
EVERYTHING = "everything"
"""Triton's name of the default model's automatic mask generation, and a kind of prompt."""
JSON_MODEL = "open-vocabulary-segmentation"
"""Triton's name of the REST API as a model, which PaddleX's Triton clients call."""

# Parameters in an ensemble's Triton configuration.
MODEL_PARAMETER = "model"
PROMPT_KINDS_PARAMETER = "prompt_kinds"


@dataclass(frozen=True)
class ServedModel:
    """A model that Triton serves now.

    Attributes:
        name: of the installed model; "" if Triton was started by hand and does not say.
        ensemble: of the Triton model to call.
        prompt_kinds: what it takes, some of "box", "point" and "everything".
        is_default: whether requests that name no model go here first.
    """

    name: str
    ensemble: str
    prompt_kinds: tuple[str, ...]
    is_default: bool

    @classmethod
    def from_config(cls, config: Any) -> ServedModel:
        """What the configuration of a loaded ensemble (a `ModelConfig` message) says."""
        _, _, suffix = config.name.partition(".")
        kinds = config.parameters[PROMPT_KINDS_PARAMETER].string_value or f"box,point,{EVERYTHING}"
        return cls(
            name=config.parameters[MODEL_PARAMETER].string_value or suffix,
            ensemble=config.name,
            prompt_kinds=tuple(kinds.split(",")),
            is_default=not suffix,
        )


def triton_name(triton_model: str, model: str, is_default: bool) -> str:
    """Name of one Triton model of a served model's set."""
    return triton_model if is_default else f"{triton_model}.{model}"


def ready_ensembles(statistics: Any) -> list[str]:
    """Names of the ensembles that answer now, from Triton's statistics of all its models.

    The repository's index says the same, but is closed to callers who may not load models.
    """
    names = dict.fromkeys(entry.name for entry in statistics.model_stats)
    return [name for name in names if name.partition(".")[0] == ENSEMBLE]


def in_order(models: Iterable[ServedModel]) -> list[ServedModel]:
    """The default first, then by name."""
    return sorted(models, key=lambda model: (not model.is_default, model.name))
