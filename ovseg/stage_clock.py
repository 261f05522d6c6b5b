"""Since when a stage has been at its present request, for the supervisor to see.

A stage that hangs cannot say so, and Triton does not notice. Each stage's process therefore notes
in a file, which it has mapped into its memory, when it begins and that it has ended; both cost
nothing. Waiting for a turn is not counted, so a long queue is no hang, however slow the model is.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_VARIABLE = "OVSEG_CLOCK_FOLDER"
"""The environment variable by which tritonserver's processes know where; none: nobody looks."""

_TIME = struct.Struct("d")
_IDLE = 0.0


class StageClock:
    """The stage's side."""

    def __init__(self) -> None:
        self._noted: mmap.mmap | None = None
        if folder := os.environ.get(FOLDER_VARIABLE):
            file = clock_file(Path(folder), os.getpid())
            file.parent.mkdir(exist_ok=True)
            with file.open("w+b") as opened:
                opened.write(_TIME.pack(_IDLE))
                opened.flush()
                self._noted = mmap.mmap(opened.fileno(), _TIME.size)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The block is the work on one request."""
        self._note(time.monotonic())
        try:
            yield
        finally:
            self._note(_IDLE)

    def _note(self, seconds: float) -> None:
        if self._noted is not None:
            _TIME.pack_into(self._noted, 0, seconds)


def clock_file(folder: Path, pid: int) -> Path:
    """The file of the stage with this process id."""
    return folder / str(pid)


def busy_s(folder: Path, pid: int) -> float:
    """For how many seconds that stage has been at one request; 0: it waits, or is none of ours."""
    try:
        (since,) = _TIME.unpack(clock_file(folder, pid).read_bytes())
    except (OSError, struct.error):
        return 0.0
    return time.monotonic() - since if since != _IDLE else 0.0
