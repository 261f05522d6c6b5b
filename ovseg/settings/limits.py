"""How large a request may be, and how long it, a start and a stop may take."""

from __future__ import annotations

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, field_validator

from ovseg.settings.comma_lists import listed
from ovseg.stages.image_formats import IMAGE_FORMATS


class LimitSettings(BaseModel, frozen=True):
    """Sizes and times."""

    max_image_pixels: PositiveInt = Field(
        89_478_485, description="Largest image, width x height; checked before decoding."
    )
    max_image_side: PositiveInt = Field(
        65_535, description="Largest width and largest height; checked before decoding."
    )
    image_formats: str = Field(
        ",".join(IMAGE_FORMATS), description="Accepted image formats, separated by commas."
    )
    max_image_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Largest encoded image file, sent or fetched."
    )
    max_body_bytes: PositiveInt = Field(
        48 * 1024 * 1024,
        description="Largest HTTP request body, inflated where compressed (base64 adds a third).",
    )
    max_head_bytes: PositiveInt = Field(
        64 * 1024, description="Largest head of an HTTP request: its first line and its headers."
    )
    max_prompts: PositiveInt = Field(1024, description="Most prompt rows in one request.")
    max_coordinate: PositiveFloat = Field(
        1e6, description="Largest absolute coordinate of a prompt, in pixels."
    )
    request_timeout_s: PositiveFloat = Field(
        60.0,
        description="After which a request is answered with 504; its header X-Request-Timeout "
        "(seconds) may ask for less.",
    )
    body_timeout_s: PositiveFloat = Field(
        30.0, description="Longest time in which a request's body has to arrive; then 408."
    )
    start_timeout_s: PositiveFloat = Field(
        120.0, description="Longest time `ovseg serve` waits until Triton is ready."
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        description="On SIGTERM, how long requests are still taken while /health/ready is 503 "
        "already, so that a load balancer can notice.",
    )
    drain_timeout_s: PositiveFloat = Field(
        30.0, description="On SIGTERM, longest time to wait for requests under way."
    )

    @field_validator("image_formats")
    @classmethod
    def _formats(cls, value: str) -> str:
        names = listed(value.upper())
        if not names or not set(names) <= set(IMAGE_FORMATS):
            raise ValueError(f"one or more of {', '.join(IMAGE_FORMATS)}")
        return ",".join(names)

    @property
    def accepted_image_formats(self) -> tuple[str, ...]:
        """The names in `image_formats`."""
        return listed(self.image_formats)
