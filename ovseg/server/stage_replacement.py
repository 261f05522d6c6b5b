"""Replaces the stages of a tritonserver that died: their models are unloaded and loaded again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

from ovseg.served_models import ServedModel
from ovseg.server.backoff import Backoff
from ovseg.server.child_process import how_it_ended, oom_kills
from ovseg.server.model_control import ModelControlError, connected
from ovseg.server.service_status import StatusWriter
from ovseg.server.shared_memory import remove_regions
from ovseg.server.stubs import DeadStub, StubWatch
from ovseg.server.triton_process import TritonProcess
from ovseg.server.warm_up import warm_up
from ovseg.settings import Settings

Say = Callable[[str], None]

LOOK_INTERVAL_S = 0.1
"""How often it is looked whether something has died."""
_STAGE_ATTEMPTS = 2
_LOAD_ENDS_S = 3.0
"""How soon Triton notices that a stage died while it was loaded. Within the stage's first
milliseconds it never does, and waits for good."""


class NeedsRestartError(Exception):
    """tritonserver must be started anew; the message says why."""


class StageReplacer:
    """Remembers each stage's crashes, from one tritonserver to the next."""

    def __init__(self, settings: Settings, status: StatusWriter, say: Say, stopping: Event) -> None:
        """Nothing has crashed yet.

        Args:
            settings: everything.
            status: is told what works.
            say: takes lines for the person at the terminal.
            stopping: set when nothing is worth replacing any more.
        """
        self._settings = settings
        self._status = status
        self._say = say
        self._stopping = stopping
        self._crashes: dict[str, Backoff] = {}
        self._oom_kills = oom_kills()

    def out_of_memory(self) -> str:
        """Words for why something failed, if the kernel has killed since the last replacement."""
        return " (out of memory)" if oom_kills() > self._oom_kills else ""

    def replace(
        self,
        dead: list[DeadStub],
        stubs: StubWatch,
        triton: TritonProcess,
        served: Sequence[ServedModel],
    ) -> None:
        """Load the models of dead stubs again; returns when every stage has answered.

        Args:
            dead: at least one.
            stubs: all of this tritonserver's.
            triton: the tritonserver.
            served: the models whose stages must answer then.

        Raises:
            NeedsRestartError: that does not help.
        """
        started = time.monotonic()
        before = self._oom_kills
        cause = " and ".join(
            f"stage {d.stub.triton_model} {d.why_killed or how_it_ended(d.exit_code, before)}"
            for d in dead
        )
        if stubs.kept_by_triton - len(dead) >= self._settings.max_dead_stages:
            raise NeedsRestartError(f"{cause}, and Triton has not freed those that died before")
        self._status.set_broken(cause, self._models_of(dead))
        self._say(f"{cause}; loading it again …")
        self._stopping.wait(max(self._pause_before(d.stub.triton_model) for d in dead))
        reason = ""
        for _ in range(_STAGE_ATTEMPTS):
            if self._stopping.is_set() or triton.poll() is not None:
                return  # The watch's next look sees that.
            for stage in {d.stub.stage for d in dead}:
                self._status.count_restart(stage)
            try:
                self._load_again(dead, stubs, triton)
                affected = self._models_of(dead)
                self._check_answers([model for model in served if model.name in affected])
            except ModelControlError as error:
                reason = f"{error}{self.out_of_memory()}"
                dead += stubs.dead()
                continue
            self._status.set_whole()
            self._say(f"the service is whole again after {time.monotonic() - started:.1f} s")
            self._oom_kills = oom_kills()
            return
        raise NeedsRestartError(f"{cause}, and cannot be loaded again: {reason}")

    def _pause_before(self, triton_model: str) -> float:
        # Of its own for each: another one's crashes are no reason to be down for longer.
        backoff = self._crashes.setdefault(triton_model, Backoff(self._settings))
        return backoff.after_crash()

    def _load_again(self, dead: list[DeadStub], stubs: StubWatch, triton: TritonProcess) -> None:
        """Replace dead stubs.

        Raises:
            ModelControlError: a model cannot be loaded.
            NeedsRestartError: Triton hangs.
        """
        settings = self._settings
        names = [d.stub.triton_model for d in dead]

        def reload() -> None:
            with connected(settings.triton_grpc_address) as control:
                control.reload(names, settings.start_timeout_s)

        pool = ThreadPoolExecutor(1, "triton-reload")
        call = pool.submit(reload)
        pool.shutdown(wait=False)
        died_at = None
        while not wait([call], LOOK_INTERVAL_S).done:
            if self._stopping.is_set() or triton.poll() is not None:
                raise ModelControlError("Triton was stopped")
            if died_at is None and stubs.has_dead(names):
                died_at = time.monotonic()
            if died_at is not None and time.monotonic() - died_at > _LOAD_ENDS_S:
                raise NeedsRestartError(f"{' and '.join(names)} died while it was loaded")
        call.result()
        for died in dead:
            remove_regions(died.stub.region)
        stubs.scan()

    def _check_answers(self, models: Sequence[ServedModel]) -> None:
        """Have every stage of these models answer.

        Raises:
            ModelControlError: one does not.
        """
        from tritonclient.utils import InferenceServerException

        settings = self._settings
        for model in models:
            try:
                warm_up(settings.triton_grpc_address, model, settings.start_timeout_s)
            except InferenceServerException as error:
                message = f"{model.name} does not answer: {error.message()}"
                raise ModelControlError(message) from None

    def _models_of(self, dead: list[DeadStub]) -> tuple[str, ...]:
        """Names of the served models that the stubs belong to."""
        suffixes = {d.stub.triton_model.partition(".")[2] for d in dead}
        return tuple(suffix.partition("~")[0] or self._settings.model for suffix in suffixes)
