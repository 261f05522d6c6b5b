"""The processes of Triton's python backend, one stub for each instance of a stage.

Triton does not notice that a stub has died: it goes on calling the model ready, and every request
then takes a second and fails. A dead stub stays a zombie until its model is unloaded, and a stub
whose model was unloaded in order is waited for, so that a zombie tells a crash. A zombie's command
line is gone, though: of one that dies before it was looked at once it is not known whose it was.
(Triton has no other children, but for the shells that become stubs.)

Measured (tritonserver 2.51.0): unload and load brings the model back, and the ensembles that depend
on it with it, in about a second. A request that was in the stub when it died is answered with an
error, but not freed, so that Triton keeps the old instance for good, with its zombie, its shared
memory and its threads; that does not hinder the new one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ovseg.server.child_process import process_state
from ovseg.stage_clock import busy_s, clock_file

_STUB_NAME = "triton_python_backend_stub"
_SCAN_INTERVAL_S = 0.5
_STOPPED_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Stub:
    """A stub process."""

    pid: int
    start_time: int
    triton_model: str
    """Name of its Triton model, such as `sam_encoder` or `sam_encoder.sam_vit_b`."""
    region: str
    """Name of its shared memory in /dev/shm."""

    @property
    def stage(self) -> str:
        """The stage's plain name."""
        return self.triton_model.partition(".")[0]


@dataclass(frozen=True, slots=True)
class DeadStub:
    """A stub that died, and how."""

    stub: Stub
    exit_code: int
    """Negative: minus the signal's number."""
    why_killed: str = ""
    """Why we killed it, as in "sam_encoder was stopped by a signal"; "": we did not."""


class StubWatch:
    """Knows the stubs of one tritonserver."""

    def __init__(self, triton_pid: int, clock_folder: Path, hang_timeout_s: float) -> None:
        """Nothing is known yet.

        Args:
            triton_pid: tritonserver's process id.
            clock_folder: where its stages note how long they have been at it.
            hang_timeout_s: after which a stage that is at one request is killed.
        """
        self._triton = psutil.Process(triton_pid)
        self._stubs: dict[int, Stub] = {}
        self._buried: set[tuple[int, int]] = set()
        """Process ids and start times of what was told to be dead; Triton may keep it for long."""
        self._clock_folder = clock_folder
        self._hang_timeout_s = hang_timeout_s
        self._stopped_since: dict[int, float] = {}
        self._why_killed: dict[int, str] = {}
        self._scanned_at = float("-inf")
        self.has_unknown_dead = False
        """Whether a stub was found that had died before it was seen alive."""

    def scan(self) -> None:
        """Look for new stubs now."""
        self._scanned_at = time.monotonic()
        unknown_dead = False
        with suppress(psutil.Error):
            for child in self._triton.children():
                if child.pid in self._stubs:
                    continue
                if stub := _stub_of(child):
                    self._stubs[stub.pid] = stub
                elif self._is_unknown_dead(child):
                    unknown_dead = True
        self.has_unknown_dead = unknown_dead

    def has_dead(self, triton_models: Sequence[str]) -> bool:
        """Whether `dead` would tell of a stub of one of these, or one is dead and unknown."""
        self._scan_if_due()
        return self.has_unknown_dead or any(
            state.letter == "Z"
            for stub in self._stubs.values()
            if stub.triton_model in triton_models and (state := process_state(stub.pid))
        )

    def dead(self) -> list[DeadStub]:
        """Stubs that died since the last call; those that stopped (SIGSTOP) or hang are killed."""
        self._scan_if_due()
        found = []
        for stub in list(self._stubs.values()):
            state = process_state(stub.pid)
            if state is None or state.start_time != stub.start_time:
                del self._stubs[stub.pid]  # Its model was unloaded, and Triton waited for it.
            elif state.letter == "Z":
                exit_code = os.waitstatus_to_exitcode(state.wait_status)
                if exit_code == 0 and not self._is_left_alone(stub.pid):
                    continue
                del self._stubs[stub.pid]
                self._buried.add((stub.pid, stub.start_time))
                clock_file(self._clock_folder, stub.pid).unlink(missing_ok=True)
                found.append(DeadStub(stub, exit_code, self._why_killed.pop(stub.pid, "")))
            elif state.letter == "T":
                if self._is_left_alone(stub.pid):
                    self._kill(stub.pid, "was stopped by a signal")
            else:
                self._stopped_since.pop(stub.pid, None)
                limit = self._hang_timeout_s
                if busy_s(self._clock_folder, stub.pid) > limit:
                    self._kill(stub.pid, f"was at one request for {limit:g} s")
        return found

    @property
    def kept_by_triton(self) -> int:
        """How many of the stubs that `dead` has told of are zombies still."""
        return sum(
            (state := process_state(pid)) is not None
            and (state.letter, state.start_time) == ("Z", start_time)
            for pid, start_time in self._buried
        )

    def _kill(self, pid: int, why: str) -> None:
        self._why_killed[pid] = why
        os.kill(pid, signal.SIGKILL)

    def _scan_if_due(self) -> None:
        if time.monotonic() - self._scanned_at > _SCAN_INTERVAL_S:
            self.scan()

    def _is_unknown_dead(self, child: psutil.Process) -> bool:
        state = process_state(child.pid)
        return (
            state is not None
            and state.letter == "Z"
            and (child.pid, state.start_time) not in self._buried
            and self._is_left_alone(child.pid)
        )

    def _is_left_alone(self, pid: int) -> bool:
        """Whether it has been like this for a while: nobody has waited for it or woken it."""
        since = self._stopped_since.setdefault(pid, time.monotonic())
        return time.monotonic() - since > _STOPPED_LIMIT_S


def _stub_of(process: psutil.Process) -> Stub | None:
    # triton_python_backend_stub MODEL_FILE REGION …
    try:
        arguments = process.cmdline()
    except psutil.Error:
        return None
    state = process_state(process.pid)
    if len(arguments) < 3 or Path(arguments[0]).name != _STUB_NAME or state is None:
        return None
    return Stub(
        pid=process.pid,
        start_time=state.start_time,
        triton_model=Path(arguments[1]).parts[-3],
        region=arguments[2],
    )
