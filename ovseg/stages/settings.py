"""Those settings that stages read, handed down by the supervisor that has read and checked them.

Reading `Settings` anew would be a third of what a stage's start costs, most of it for importing
pydantic-settings; and after a crash ten stages and more start at the same time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ovseg.engine_names import EngineName, PrecisionName

if TYPE_CHECKING:
    from ovseg.settings import Settings

VARIABLE = "OVSEG_STAGE_SETTINGS"
"""The environment variable that holds them as JSON, for tritonserver's processes."""


@dataclass(frozen=True)
class StageSettings:
    """A part of `Settings`, with the same names and meanings."""

    model: str
    model_dir: Path
    engine: EngineName
    precision: PrecisionName
    decoder_precision: PrecisionName
    threads: int
    max_image_pixels: int
    max_image_side: int
    accepted_image_formats: tuple[str, ...]
    max_prompts: int
    max_coordinate: float
    everything_points_per_side: int
    everything_points_per_batch: int
    everything_max_points: int
    overlay_jpeg_quality: int
    log_level: str
    log_format: str

    @property
    def model_folder(self) -> Path:
        """Folder of the model to serve."""
        return self.model_dir / self.model

    @classmethod
    def of(cls, settings: Settings) -> StageSettings:
        """The part of all settings that stages read."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    @classmethod
    def handed_down(cls) -> StageSettings:
        """Of this process: the supervisor's; all settings are read where there is none.

        Raises:
            pydantic.ValidationError: there is none, and a variable has an invalid value.
        """
        if (text := os.environ.get(VARIABLE)) is None:
            from ovseg.settings import Settings

            return cls.of(Settings())
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))

    def to_json(self) -> str:
        """What `handed_down` reads."""
        return msgspec.json.encode(self, enc_hook=str).decode()
