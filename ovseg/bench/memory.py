"""Peak memory of a process and all that it started."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_S = 0.2


@dataclass
class PeakMemory:
    """Filled while the watched block runs."""

    bytes: int = 0


@contextmanager
def watch_memory(pid: int) -> Iterator[PeakMemory]:
    """Sample the proportional set size of a process tree while the block runs.

    PSS (/proc/PID/smaps_rollup, proc(5)) counts a page shared by n processes as 1/n in each, so
    their sum counts it once. A peak shorter than 0.2 s can be missed.
    """
    peak = PeakMemory()
    finished = threading.Event()

    def sample() -> None:
        while True:
            peak.bytes = max(peak.bytes, sum(map(_pss_bytes, process_tree(pid))))
            if finished.wait(_INTERVAL_S):
                return

    sampler = threading.Thread(target=sample, name="memory-sampler", daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        finished.set()
        sampler.join()


def process_tree(pid: int) -> list[int]:
    """The process and its descendants, by /proc/PID/task/TID/children."""
    found = [pid]
    for parent in found:  # grows while it is walked
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                with suppress(OSError):
                    found += map(int, children.read_text().split())
    return found


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
