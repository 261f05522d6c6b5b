"""The plan of a run: phases, each for so many minutes at one image size."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULE = "3.2:256:128:8,5.0:512:48:8"
WARM_UP = 0.03  # of the run
LAST = 0.01  # of the peak rate, at the end


@dataclass(frozen=True)
class Phase:
    """`minutes` of training at `size` pixels with `batch` images and `prompts` per image."""

    minutes: float
    size: int
    batch: int
    prompts: int


def parse_phases(text: str) -> list[Phase]:
    """Text like `SCHEDULE` -> phases."""
    phases = []
    for item in text.split(","):
        minutes, *counts = item.split(":")
        phases.append(Phase(float(minutes), *(int(count) for count in counts)))
    return phases


def share_of_rate(progress: float) -> float:
    """Of the peak rate at a share `progress` of the whole run: warm-up, then a cosine."""
    if progress < WARM_UP:
        return 0.05 + 0.95 * progress / WARM_UP
    done = min(1.0, (progress - WARM_UP) / (1 - WARM_UP))
    return LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * done))
