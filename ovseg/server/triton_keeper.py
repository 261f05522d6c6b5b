"""Keeps one tritonserver working: starts it, watches its processes, replaces what dies.

A dead stage is replaced alone (unload and load its model), since that keeps the cached embeddings
and the other stages' requests. If that fails twice, or tritonserver itself ends or hangs, or keeps
too many dead stages in memory, all of it is started anew, with the models that were served. What
cannot be started is tried again after a growing pause, and in the end given up (see `Backoff`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Event, Thread

from ovseg.manifest import ModelManifest, ModelNotInstalledError
from ovseg.served_models import EVERYTHING, JSON_MODEL, ServedModel, triton_name
from ovseg.server.backoff import Backoff
from ovseg.server.child_process import how_it_ended, oom_kills, process_state
from ovseg.server.errors import ServerStartError
from ovseg.server.model_control import ModelControlError, connected
from ovseg.server.model_sets import TRITON_MODELS, write_further_set
from ovseg.server.service_status import StatusWriter
from ovseg.server.shared_memory import remove_regions
from ovseg.server.stubs import DeadStub, StubWatch
from ovseg.server.triton_heartbeat import Heartbeat
from ovseg.server.triton_process import TritonKilledError, TritonProcess
from ovseg.server.warm_up import warm_up
from ovseg.settings import Settings

Say = Callable[[str], None]

_LOOK_INTERVAL_S = 0.1
_STAGE_ATTEMPTS = 2
_LOAD_ENDS_S = 3.0
"""How soon Triton notices that a stage died while it was loaded. Within the stage's first
milliseconds it never does, and waits for good."""


class _NeedsRestartError(Exception):
    """tritonserver must be started anew; the message says why."""


class TritonKeeper:
    """Runs in a thread of its own, which Triton must not outlive: see `die_with_parent`."""

    def __init__(self, settings: Settings, status: StatusWriter, say: Say) -> None:
        """Prepare; `start` starts.

        Args:
            settings: everything.
            status: is told what works.
            say: takes lines for the person at the terminal.

        Raises:
            ServerStartError, ModelNotInstalledError: nothing needs to be started to know that it
                would fail.
        """
        self._manifest = ModelManifest.load(settings.model_folder)
        self._settings = settings
        self._status = status
        self._say = say
        self._stopping = Event()
        self._triton: TritonProcess | None = None
        self._further: Sequence[str] = settings.further_models
        self._served: list[ServedModel] = []
        self._has_failed_start = False
        self._starts = Backoff(settings)
        self._stage_crashes: dict[str, Backoff] = {}
        self._oom_kills = oom_kills()
        self._thread = Thread(target=self._run, name="triton-keeper")
        self.ready = Event()
        """Set once all models have answered for the first time."""
        self.failure: Exception | None = None
        """Set when it has given up."""

    def start(self) -> None:
        """Start Triton; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop Triton; at once where nobody can have a request in it."""
        self._stopping.set()
        if not self.ready.is_set():
            self.kill()

    def kill(self) -> None:
        """Stop without waiting for anything."""
        self._stopping.set()
        if self._triton:
            self._triton.kill()

    @property
    def is_running(self) -> bool:
        """Whether there is something left to be stopped."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._run_once())
        except Exception as error:
            self.failure = error

    def _run_once(self) -> float:
        """Run one tritonserver from start to end; seconds to wait before the next."""
        with TritonProcess(self._settings, self._models_to_start_with()) as self._triton:
            try:
                self._start(self._triton)
            except ServerStartError as error:
                return self._note_failed_start(error)
            try:
                self._watch(self._triton)
                return 0.0
            except _NeedsRestartError as error:
                if self._stopping.is_set():
                    return 0.0
                self._triton.kill()  # Nothing in it is worth waiting for.
                self._status.set_broken(str(error))
                self._status.count_restart("triton")
                self._say(f"{error}; starting Triton again …")
                return self._starts.after_crash()

    def _models_to_start_with(self) -> list[str]:
        """What Triton shall load by itself.

        After a crash that is every stage of every model, since all then start at the same time;
        those that ask other stages come when these work again. But if that does not work, one model
        after another tells which it is that cannot be loaded.
        """
        if not self.ready.is_set() or self._has_failed_start:
            return [*TRITON_MODELS, JSON_MODEL]
        found = [name for name in TRITON_MODELS if name != EVERYTHING]
        for model in self._further:
            with suppress(ModelNotInstalledError):
                configs = write_further_set(self._settings, model)
                found += [config.name for name, config in configs.items() if name != EVERYTHING]
        return found

    def _note_failed_start(self, error: ServerStartError) -> float:
        self._has_failed_start = True
        if self._stopping.is_set():
            return 0.0
        # What has never worked is a mistake to be mended by a person; a killed process is none.
        if not self.ready.is_set() and not isinstance(error, TritonKilledError):
            raise error
        pause = self._starts.after_failed_start(str(error))
        self._status.set_broken(str(error))
        self._status.count_restart("triton")
        self._say(f"{error}; another attempt in {pause:.1f} s")
        return pause

    def _start(self, triton: TritonProcess) -> None:
        manifest = self._manifest
        if not self.ready.is_set():
            self._say(f"starting Triton with {manifest.name} ({manifest.parameters / 1e6:.1f} M) …")
        triton.start()
        if self._stopping.is_set():
            triton.kill()  # `stop` may have come before there was anything to kill.
        triton.wait_ready()
        self._load_models(triton)
        self._status.set_whole()
        self._has_failed_start = False
        if self.ready.is_set():
            self._say("the service is whole again")
            with connected(self._settings.triton_grpc_address) as control:
                for model in self._served:
                    control.load_triton_model(triton_name(EVERYTHING, model.name, model.is_default))
                control.load_triton_model(JSON_MODEL)
        self.ready.set()

    def _load_models(self, triton: TritonProcess) -> None:
        from tritonclient.utils import InferenceServerException

        settings = self._settings
        served = []
        later = (EVERYTHING,) if self.ready.is_set() else ()
        name = settings.model
        try:
            with connected(settings.triton_grpc_address) as control:
                served.append(control.load(settings, name, is_default=True))
                for name in self._further:
                    self._say(f"loading {name} …")
                    try:
                        served.append(control.load(settings, name, without=later))
                    except (ModelControlError, ModelNotInstalledError) as error:
                        if not self.ready.is_set() or triton.poll() is not None:
                            raise
                        self._say(f"{error}; going on without it")  # It worked before the crash.
            if not self.ready.is_set():
                self._say("warming up …")
            for model in served:
                name = model.name
                warm_up(settings.triton_grpc_address, model, settings.start_timeout_s)
        except (InferenceServerException, ServerStartError) as error:
            if triton.poll() is not None:
                raise TritonKilledError(triton.end_cause()) from None
            if isinstance(error, ServerStartError):
                raise
            cause = f"the first inference of {name} failed: {error.message()}"
            raise ServerStartError(cause + self._out_of_memory()) from None
        self._served = served

    def _watch(self, triton: TritonProcess) -> None:
        """Watch until told to stop.

        Raises:
            _NeedsRestartError: tritonserver must be started anew.
        """
        stubs = StubWatch(triton.pid, triton.clock_folder, self._settings.hang_timeout_s)
        with Heartbeat(self._settings.triton_grpc_address) as heartbeat:
            while not self._stopping.wait(_LOOK_INTERVAL_S):
                self._check_server(triton, heartbeat)
                if dead := stubs.dead():
                    self._replace(dead, stubs, triton)
                    heartbeat.served = []  # What it saw meanwhile was not all.
                elif stubs.has_unknown_dead:
                    raise _NeedsRestartError("a stage died before it was known")
                elif any(model.is_default for model in heartbeat.served):
                    self._served = heartbeat.served
                    self._further = [model.name for model in self._served if not model.is_default]

    def _check_server(self, triton: TritonProcess, heartbeat: Heartbeat) -> None:
        if triton.poll() is not None:
            raise _NeedsRestartError(triton.end_cause())
        limit = self._settings.hang_timeout_s
        state = process_state(triton.pid)
        if state and state.letter == "T":
            if heartbeat.silent_s > 2.0:
                raise _NeedsRestartError("tritonserver was stopped by a signal")
        elif heartbeat.silent_s > limit:
            raise _NeedsRestartError(f"tritonserver has not answered for {limit:g} s")

    def _replace(self, dead: list[DeadStub], stubs: StubWatch, triton: TritonProcess) -> None:
        """Load the models of dead stubs again; returns when every stage has answered."""
        started = time.monotonic()
        before = self._oom_kills
        cause = " and ".join(
            f"stage {d.stub.triton_model} {d.why_killed or how_it_ended(d.exit_code, before)}"
            for d in dead
        )
        if stubs.kept_by_triton - len(dead) >= self._settings.max_dead_stages:
            raise _NeedsRestartError(f"{cause}, and Triton has not freed those that died before")
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
            except ModelControlError as error:
                reason = f"{error}{self._out_of_memory()}"
                dead += stubs.dead()
                continue
            self._status.set_whole()
            self._say(f"the service is whole again after {time.monotonic() - started:.1f} s")
            self._oom_kills = oom_kills()
            return
        raise _NeedsRestartError(f"{cause}, and cannot be loaded again: {reason}")

    def _pause_before(self, triton_model: str) -> float:
        # Of its own for each: another one's crashes are no reason to be down for longer.
        backoff = self._stage_crashes.setdefault(triton_model, Backoff(self._settings))
        return backoff.after_crash()

    def _load_again(self, dead: list[DeadStub], stubs: StubWatch, triton: TritonProcess) -> None:
        """Replace dead stubs.

        Raises:
            ModelControlError: a model cannot be loaded, or does not answer.
            _NeedsRestartError: Triton hangs.
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
        while not wait([call], _LOOK_INTERVAL_S).done:
            if self._stopping.is_set() or triton.poll() is not None:
                raise ModelControlError("Triton was stopped")
            if died_at is None and stubs.has_dead(names):
                died_at = time.monotonic()
            if died_at is not None and time.monotonic() - died_at > _LOAD_ENDS_S:
                raise _NeedsRestartError(f"{' and '.join(names)} died while it was loaded")
        call.result()
        for died in dead:
            remove_regions(died.stub.region)
        stubs.scan()
        affected = self._models_of(dead)
        for model in self._served:
            if model.name in affected:
                control_error = _answers(settings, model)
                if control_error:
                    raise ModelControlError(control_error)

    def _models_of(self, dead: list[DeadStub]) -> tuple[str, ...]:
        """Names of the served models that the stubs belong to."""
        suffixes = {d.stub.triton_model.partition(".")[2] for d in dead}
        return tuple(suffix.partition("~")[0] or self._settings.model for suffix in suffixes)

    def _out_of_memory(self) -> str:
        return " (out of memory)" if oom_kills() > self._oom_kills else ""


def _answers(settings: Settings, model: ServedModel) -> str:
    """Warm a model up; why it failed, or ""."""
    from tritonclient.utils import InferenceServerException

    try:
        warm_up(settings.triton_grpc_address, model, settings.start_timeout_s)
    except InferenceServerException as error:
        return f"{model.name} does not answer: {error.message()}"
    return ""
