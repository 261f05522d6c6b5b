"""What waits, what is kept and what is refused when more is asked for than can be answered."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from ovseg.settings.cpus import available_cpus, useful_concurrency


class OverloadSettings(BaseModel, frozen=True):
    """Bounds of each gateway worker."""

    max_running: PositiveInt = Field(
        default_factory=useful_concurrency,
        description="Requests that are sent to Triton at the same time; others wait.",
    )
    max_waiting: int = Field(
        default_factory=lambda: 8 * available_cpus(),
        ge=0,
        description="Most requests that wait for their turn; further ones are answered with 503.",
    )
    max_wait_s: PositiveFloat = Field(
        40.0,
        description="Longest expected wait for a turn at which a request is let in. One that lasts "
        "longer, with the turn, than `OVSEG_REQUEST_TIMEOUT_S` ends in 504.",
    )
    overload_wait_turns: PositiveFloat = Field(
        0.25,
        description="The same while far more is asked for than can be answered, as a share of the "
        "average turn: short, so that those who are answered are answered fast. Not as long as "
        "no more connections are open than requests may run and wait.",
    )
    refusal_delay_s: NonNegativeFloat = Field(
        0.02,
        description="How long such a 503 is held back: callers who ask again at once, in a loop, "
        "would otherwise take the CPU from those who are answered.",
    )
    keep_alive_s: PositiveInt = Field(
        75,
        description="How long the gateway keeps an idle connection; longer than clients and "
        "proxies do, or a request meets a connection that is just being closed.",
    )
    max_open_requests: PositiveInt = Field(
        256, description="Segmentation requests under way, from a request's head to its answer."
    )
    max_held_bytes: PositiveInt = Field(
        128 * 1024 * 1024, description="Bytes of bodies held at once (never less than one body)."
    )
    image_store_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of image files that each gateway process keeps, so that a caller can "
        "send an answer's `imageId` instead of the image; 0: none.",
    )
    mask_store_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of low-res masks (256 KB each) that each gateway process keeps for "
        "requests with `keepMasks`; 0: none.",
    )
    everything_points_per_side: PositiveInt = Field(
        32,
        description="Side of the grid of points for `promptType` everything, when a request does "
        "not say.",
    )
    everything_max_points: PositiveInt = Field(
        8192, description="Most points of such a request, in all of its crops together."
    )
    everything_points_per_batch: PositiveInt = Field(
        16,
        description="Most points that it has decoded at once: other requests come in between.",
    )
    everything_max_waiting: int = Field(
        4, ge=0, description="Such requests that wait while another one runs; further ones get 503."
    )
    everything_timeout_s: PositiveFloat = Field(
        300.0, description="`OVSEG_REQUEST_TIMEOUT_S` for them."
    )
    rate_limit: str = Field(
        "",
        description="Segmentation requests of one caller (token, else address), such as "
        "`10/second` or `5/second;100/minute`; empty: no limit.",
    )

    @field_validator("rate_limit")
    @classmethod
    def _rates(cls, value: str) -> str:
        if value:
            import limits  # It takes as long to import as all else here, in every stage.

            limits.parse_many(value)
        return value
