"""Which models are served, and what computes them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, PositiveInt, field_validator

from ovseg.engine_names import EngineName, PrecisionName
from ovseg.settings.comma_lists import listed
from ovseg.settings.cpus import available_cpus
from ovseg.settings.paths import PROJECT_ROOT

BUNDLED_MODEL = "sam_mini"


class ModelSettings(BaseModel, frozen=True):
    """Model and engine."""

    model: str = Field(BUNDLED_MODEL, description="Installed model to serve (see `ovseg models`).")
    models: str = Field("", description="Further models to serve beside it, separated by commas.")
    model_dir: Path = Field(
        PROJECT_ROOT / "models", description="Where `ovseg import` installs models."
    )
    model_repository: Path = Field(
        PROJECT_ROOT / "model_repository", description="Triton's model repository."
    )
    engine: EngineName = Field(
        "auto",
        description="Inference engine of the encoder and the prompt decoder; `auto`: the one that "
        "the model was imported with (`--engine`), else the fastest that its self-check accepted. "
        "tensorrt is for the encoder, with a plan of `ovseg build-engine`; the prompt decoder then "
        "runs as with `auto`.",
    )
    precision: PrecisionName = Field(
        "auto",
        description="What the encoder's matrix products compute in; `auto`: the precision that the "
        "model was imported with (`--precision`), else the fastest of fp32 and bf16 that its "
        "self-check accepted. int8 must have been accepted too. fp16 is that of a TensorRT plan.",
    )
    decoder_precision: PrecisionName = Field(
        "auto", description="The same for the prompt decoder, whose self-check is stricter."
    )
    threads: PositiveInt = Field(
        default_factory=available_cpus, description="CPU threads of one inference engine."
    )
    cache_size_bytes: int = Field(
        256 * 1024 * 1024,
        ge=0,
        description="Triton's response cache for image embeddings (4 MB an image); 0: no cache.",
    )

    @field_validator("model_dir", "model_repository")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def further_models(self) -> tuple[str, ...]:
        """The names in `models` that are not the default model."""
        return tuple(name for name in listed(self.models) if name != self.model)

    @property
    def model_folder(self) -> Path:
        """Folder of the model to serve."""
        return self.model_dir / self.model
