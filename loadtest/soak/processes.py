"""The service's processes: which is which, and what they hold."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ovseg.server.shared_memory import SHARED_MEMORY_FOLDER

INTERVAL_S = 5.0
WARM_UP_S = 60.0
"""Caches fill and pools grow in the first minute; the rest must be flat."""
SHARED_MEMORY = "/dev/shm"
WHOLE = "all processes"
TRITON = "tritonserver"
KEPT = f"{TRITON}, kept of dead stages"

# What a median may grow by: a share, and at least so much.
_MEMORY_SHARE, _MEMORY_BYTES = 0.10, 48e6
# (What a burst had at once, tritonserver's malloc keeps for the next: five bursts left 63, 83, 76,
# 80 and 80 MB in its heaps, of which malloc_trim gave back 72; some rounds malloc trims by itself.)
_TRITON_BYTES = 96e6
# (A stage inherits what Triton has open when it loads it: 22 files with others, 44 after all.)
_FILES_SHARE, _FILES = 0.10, 56
_FEWEST_SAMPLES = 9

KEPT_BYTES_EACH = 24 * 1024 * 1024
"""The most that Triton may keep of a stage that died while it was at a request: see `kept_of_dead`.

It is the stage's shared memory, as large as its largest request has made it: of 32 stages that were
killed under this traffic, Triton kept 17 regions, of 1 to 21 MiB, with 97 MiB in use in all.
"""


@dataclass(frozen=True)
class Usage:
    """What the processes of one kind hold together."""

    memory_bytes: int
    """PSS: a page that n processes share counts as 1/n in each."""
    files: int
    """Open file descriptors; of /dev/shm and of what is kept of dead stages, regions."""
    processes: int
    """Of what is kept of dead stages, how many these are."""


Sample = Mapping[str, Usage]


@dataclass(frozen=True)
class Growth:
    """How one number went: medians of the two stretches of time that `growths` compares."""

    kind: str
    what: str
    """"memory" (bytes) or "files"."""
    first: float
    last: float
    highest: float
    allowed: float
    """The most that `last` may be."""

    @property
    def is_flat(self) -> bool:
        """Whether the promise is kept."""
        return self.last <= self.allowed


def service_processes(pid: int) -> dict[str, list[psutil.Process]]:
    """The supervisor and its descendants by kind; a stage's kind is `stub STAGE`."""
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    with suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(pid)
        found["supervisor"].append(supervisor)
        for process in supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found[_kind_of(process)].append(process)
    return found


def _kind_of(process: psutil.Process) -> str:
    command = process.cmdline()
    if not command:
        return "ended"
    if command[0].endswith("triton_python_backend_stub") and len(command) > 1:
        return f"stub {Path(command[1]).parents[1].name}"
    if command[0].endswith("/tritonserver"):
        return TRITON
    return "gateway worker" if _is_gateway(command) else "other"


def _is_gateway(command: Sequence[str]) -> bool:
    return any("gateway" in argument or "spawn_main" in argument for argument in command)


def take_sample(pid: int, shared_memory_prefix: str) -> dict[str, Usage]:
    """What the service holds now."""
    sample = {}
    found = service_processes(pid)
    for kind, processes in found.items():
        memory = files = count = 0
        for process in processes:
            with suppress(psutil.Error, OSError):
                memory += process.memory_full_info().pss
                files += process.num_fds()
                count += 1
        if count:
            sample[kind] = Usage(memory, files, count)
    sample[WHOLE] = Usage(
        sum(usage.memory_bytes for usage in sample.values()),
        sum(usage.files for usage in sample.values()),
        sum(usage.processes for usage in sample.values()),
    )
    if triton := sample.get(TRITON):
        sample[KEPT] = kept = kept_of_dead(found[TRITON][0])
        own = triton.memory_bytes - kept.memory_bytes
        sample[TRITON] = replace(triton, memory_bytes=own)
    regions = [
        stat.st_blocks * 512
        for region in SHARED_MEMORY_FOLDER.glob(f"{shared_memory_prefix}*")
        for stat in _stats(region)
    ]
    sample[SHARED_MEMORY] = Usage(sum(regions), len(regions), 0)
    return sample


def kept_of_dead(triton: psutil.Process) -> Usage:
    """What a tritonserver keeps of stages that died while they were at a request.

    Its python backend forgets to free the response factory of such a request (`ProcessRequests` in
    python_be.cc returns early, in release 24.10 as in 2026), which holds the model: the instance is
    unloaded but never destroyed, with its shared memory, 36 threads, and its dead stub as a zombie.
    The memory's file was removed by the supervisor.
    """
    memory = regions = dead = 0
    with suppress(psutil.Error, OSError):
        for mapped in triton.memory_maps(grouped=True):
            path = Path(mapped.path)
            if path.parent == SHARED_MEMORY_FOLDER and not path.exists():
                memory += mapped.pss
                regions += 1
        dead = sum(child.status() == psutil.STATUS_ZOMBIE for child in triton.children())
    return Usage(memory, regions, dead)


def _stats(path: Path) -> list[os.stat_result]:
    with suppress(OSError):
        return [path.stat()]
    return []


class Watch:
    """Samples while the block runs."""

    def __init__(self, pid: int, shared_memory_prefix: str, interval_s: float = INTERVAL_S) -> None:
        self.samples: list[tuple[float, Sample]] = []
        """With the seconds since the start."""
        self._pid = pid
        self._prefix = shared_memory_prefix
        self._interval_s = interval_s
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-watch", daemon=True)

    @property
    def latest(self) -> Sample:
        """The last sample; empty before the first."""
        return self.samples[-1][1] if self.samples else {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._finished.is_set():
            sample = take_sample(self._pid, self._prefix)
            self.samples.append((time.monotonic() - started, sample))
            self._finished.wait(self._interval_s)


def growths(
    samples: Sequence[tuple[float, Sample]], cycle_s: float = 0.0, warm_up_s: float = WARM_UP_S
) -> list[Growth]:
    """How memory and files of each kind went; empty if there are too few samples to tell.

    A kind is the sum of its processes, whichever they are: one that was killed and started again
    is compared with the one before it. What a process holds depends on how long ago it was
    started, and on the bursts since: so like is compared with like, the last whole round of faults
    with the one before it. Where there were not two of them, it is the last third with the first.
    What is kept of dead stages may be no more than how many they are explains.

    Args:
        samples: (seconds since the start, sample), in order.
        cycle_s: how long a round of faults takes.
        warm_up_s: not looked at.
    """
    warm = [(after_s, sample) for after_s, sample in samples if after_s >= warm_up_s]
    if len(warm) < _FEWEST_SAMPLES:
        return []
    end_s = warm[-1][0]
    if cycle_s and end_s - 2 * cycle_s >= warm_up_s:
        warm = [(after_s, sample) for after_s, sample in warm if after_s > end_s - 2 * cycle_s]
        before = sum(after_s <= end_s - cycle_s for after_s, _ in warm)
        after = len(warm) - before
    else:
        before = after = len(warm) // 3
    found = []
    for kind in sorted({kind for _, sample in warm for kind in sample if kind != "ended"}):
        memory = [s[kind].memory_bytes if kind in s else 0 for _, s in warm]
        files = [s[kind].files if kind in s else 0 for _, s in warm]
        dead = statistics.median(s[kind].processes if kind in s else 0 for _, s in warm[-after:])
        least_bytes = _TRITON_BYTES if kind == TRITON else _MEMORY_BYTES
        for what, values, share, least, each in (
            ("memory", memory, _MEMORY_SHARE, least_bytes, KEPT_BYTES_EACH),
            ("files", files, _FILES_SHARE, _FILES, 1),
        ):
            first, last = statistics.median(values[:before]), statistics.median(values[-after:])
            allowed = dead * each if kind == KEPT else first + max(first * share, least)
            found.append(Growth(kind, what, first, last, max(values), allowed))
    return found
