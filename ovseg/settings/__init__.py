"""Every setting of the deployment, read from environment variables with the prefix `OVSEG_`.

One class for all processes (supervisor, gateway, Triton's stages), so that a variable means the
same thing everywhere; `ovseg config` prints them with their present values. Its fields are in
modules by subject; what they need is imported from here.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from ovseg.engine_names import EngineName, PrecisionName
from ovseg.settings.access import AccessSettings
from ovseg.settings.cpus import available_cpus
from ovseg.settings.image_urls import ImageUrlSettings
from ovseg.settings.limits import LimitSettings
from ovseg.settings.models import BUNDLED_MODEL, ModelSettings
from ovseg.settings.overload import OverloadSettings
from ovseg.settings.paths import EXAMPLE_PHOTO, PROJECT_ROOT
from ovseg.settings.processes import ProcessSettings
from ovseg.stages.image_formats import IMAGE_FORMATS

__all__ = [
    "BUNDLED_MODEL",
    "EXAMPLE_PHOTO",
    "IMAGE_FORMATS",
    "PROJECT_ROOT",
    "EngineName",
    "PrecisionName",
    "Settings",
    "available_cpus",
    "get_settings",
]


# The last class's fields come first in the documentation: so pydantic collects them.
class Settings(
    ImageUrlSettings,
    OverloadSettings,
    ProcessSettings,
    LimitSettings,
    ModelSettings,
    AccessSettings,
    BaseSettings,
):
    """All settings; each field `x_y` is the environment variable `OVSEG_X_Y`.

    What no variable says may be in a file `ovseg_x_y` of the folder `secrets_dir`.
    """

    model_config = SettingsConfigDict(env_prefix="OVSEG_", frozen=True, extra="ignore")

    visualize: bool = Field(True, description="Draw the picture when a request does not say.")
    overlay_jpeg_quality: int = Field(
        85, ge=1, le=100, description="JPEG quality of the picture with masks."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What goes to the log on standard error."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or one JSON object a line."
    )

    @property
    def is_hanging_after_s(self) -> float:
        """`hang_timeout_s`, or what follows from the time that requests are given."""
        return self.hang_timeout_s or 2 * self.request_timeout_s

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then files of `secrets_dir`, if there is such a folder."""
        default = cls.model_fields["secrets_dir"].default
        folder = Path(os.environ.get("OVSEG_SECRETS_DIR", default))
        if not folder.is_dir():
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once.

    Raises:
        pydantic.ValidationError: a variable has an invalid value.
    """
    return Settings()
