"""The plan of a run: phases, each for so many minutes at one image size."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULE = "4:256:6:0:1e-3,46:256:3:4:5e-4,21:256:3:4:3.5e-4,26:512:2:4:2.5e-4:large"


@dataclass(frozen=True)
class Phase:
    """`minutes` of training at `size` pixels with `batch` images and `prompts` per image."""

    minutes: float
    size: int
    batch: int
    prompts: int  # 0: dense objectives only
    peak_rate: float
    pool: str = "small"


def parse_phases(text: str) -> list[Phase]:
    """Text like `SCHEDULE` -> phases; a sixth field names the pool."""
    phases = []
    for item in text.split(","):
        minutes, size, batch, prompts, rate, *pool = item.split(":")
        counts = int(size), int(batch), int(prompts)
        phases.append(Phase(float(minutes), *counts, float(rate), *pool))
    return phases


def learning_rate(phase: Phase, progress: float) -> float:
    """Warm-up over the first 4 %, then a cosine down to a fiftieth of the peak."""
    if progress < 0.04:
        return phase.peak_rate * (0.05 + 0.95 * progress / 0.04)
    return phase.peak_rate * (0.02 + 0.49 * (1 + math.cos(math.pi * (progress - 0.04) / 0.96)))
