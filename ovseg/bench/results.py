"""What a benchmark found, as plain data: the raw JSON file is these classes, field by field."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class TargetResult:
    """One server under test."""

    name: str
    description: str
    start_seconds: float
    peak_memory_bytes: int | None = None
    """Proportional set size of its process tree, at most, while it answered."""


@dataclass
class Latency:
    """One scenario on one server, one request at a time."""

    scenario: str
    target: str
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """Milliseconds; None without a success."""
        return quantile(self.milliseconds, 0.5)


@dataclass
class Fidelity:
    """One server's masks against ours, same requests."""

    scenario: str
    target: str
    ious: list[float]
    """Intersection over union of each mask; 1 where both are empty."""


@dataclass
class Throughput:
    """One mix at one number of clients, on one server."""

    mix: str
    clients: int
    target: str
    seconds: float
    """From the first request to the last answer that counted."""
    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    """The first few of them, in words: refusals come by the thousand."""
    unanswered: int = 0
    """Requests that were sent in time and had no answer when the time was up."""

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return len(self.milliseconds) / self.seconds if self.seconds else 0.0


@dataclass
class BenchmarkResult:
    """One run of `ovseg bench peer`."""

    date: str
    model: str
    parameters: int
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, str]
    seeded: bool = False
    """Whether the weights are from a seed, not trained."""
    targets: list[TargetResult] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    fidelity: list[Fidelity] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    @property
    def title(self) -> str:
        """Of the document and its plots."""
        return f"{self.model} (seeded weights)" if self.seeded else self.model


def quantile(values: list[float], share: float) -> float | None:
    """The value below which a share of them lies (linear between neighbours)."""
    return float(np.quantile(values, share)) if values else None
