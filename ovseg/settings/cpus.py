"""How many CPUs there are to use: defaults of several settings go by them."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cpus() -> int:
    """Number of CPUs this process may use: taskset, cpusets and a container's limit count."""
    return max(1, min(len(os.sched_getaffinity(0)), _cpus_of_quota(_CPU_QUOTA)))


def _cpus_of_quota(file: Path) -> int:
    """Whole CPUs that a cgroup's time is worth (cgroup v2); a large number without a limit.

    More threads than that would be stopped together for the rest of each period.
    """
    try:
        quota, period = file.read_text("ascii").split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # No cgroup v2, or "max".
        return 1 << 16


def useful_concurrency() -> int:
    """Requests that gain from being in Triton together: one engine alone keeps two CPUs busy.

    More than its four stages in a row have no use for.
    """
    return min(max(available_cpus() // 2, 1), 4)
