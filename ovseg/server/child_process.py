"""What is known of a process from outside: its state, and how it ended, in words."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Of /proc/PID/stat, counted behind the command's name: proc(5).
_STATE, _START_TIME, _EXIT_CODE = 0, 19, 49


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One look at a process."""

    letter: str
    """As in proc(5): R running, S sleeping, T stopped, Z zombie …"""
    start_time: int
    """In clock ticks since boot: tells the process from a later one with the same id."""
    wait_status: int
    """Of a zombie: how it ended, as wait(2) has it."""


def process_state(pid: int) -> ProcessState | None:
    """Look at a process; None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return ProcessState(fields[_STATE], int(fields[_START_TIME]), int(fields[_EXIT_CODE]))


def how_it_ended(exit_code: int, oom_kills_before: int | None = None) -> str:
    """Words for an exit code as `subprocess` has it, e.g. "was killed by SIGKILL".

    Args:
        exit_code: negative: minus the number of the signal.
        oom_kills_before: `oom_kills()` while the process still ran.
    """
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    ended = f"was killed by {name}"
    if exit_code != -signal.SIGKILL or oom_kills_before is None:
        return ended
    return ended + (" (out of memory)" if oom_kills() > oom_kills_before else "")


def oom_kills() -> int:
    """Processes, anybody's, that the kernel killed for want of memory since boot; 0: unknown."""
    try:
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def die_with_parent() -> None:
    """A `preexec_fn`: if the supervisor (its thread that starts the child) ends, so does the child.

    Runs in the child between fork and exec.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """From now on this process is the parent of all below it whose own parent has ended.

    In a container without an init, where it is process 1, it is that anyway.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def wait_for_group(group: int, timeout_s: float) -> None:
    """Wait until no child of ours is left in a process group, adopted ones included."""
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            if os.waitpid(-group, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
    except ChildProcessError:
        pass
