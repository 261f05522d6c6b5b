"""How many processes there are, and what happens when one crashes or hangs."""

from __future__ import annotations

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt


class ProcessSettings(BaseModel, frozen=True):
    """Processes and crashes."""

    gateway_workers: PositiveInt = Field(1, description="Gateway processes.")
    recovery_wait_s: float = Field(
        10.0,
        ge=0,
        description="Longest time a request waits while a crashed process is replaced; 0: a "
        "request that a crash ended is answered with 503 at once.",
    )
    restart_limit: PositiveInt = Field(
        5, description="Failed starts of a process after which `ovseg serve` gives up, if they …"
    )
    restart_window_s: PositiveFloat = Field(
        300.0, description="… happen within this time (crashes after a good start do not count)."
    )
    restart_backoff_s: PositiveFloat = Field(
        0.5,
        description="Pause before the second restart in a row, doubled for each further one (the "
        "first has none); half of it is random.",
    )
    restart_backoff_limit_s: PositiveFloat = Field(
        10.0, description="Longest pause before a restart."
    )
    hang_timeout_s: PositiveFloat | None = Field(
        None,
        description="A stage that works on one request for longer, or a tritonserver that does not "
        "answer for so long, is killed and restarted; if not set, twice `OVSEG_REQUEST_TIMEOUT_S`.",
    )
    max_dead_stages: PositiveInt = Field(
        16,
        description="Triton never frees a stage that died amid a request (up to 21 MB and 36 "
        "threads each); when it keeps so many, the next crash of one starts it anew.",
    )
