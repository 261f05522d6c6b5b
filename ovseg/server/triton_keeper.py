"""Keeps one tritonserver working: starts it, watches its processes, replaces what dies.

A dead stage is replaced alone (unload and load its model), since that keeps the cached embeddings
and the other stages' requests. If that fails twice, or tritonserver itself ends or hangs, or keeps
too many dead stages in memory, all of it is started anew, with the models that were served. What
cannot be started is tried again after a growing pause, and in the end given up (see `Backoff`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread

from ovseg.manifest import ModelManifest, ModelNotInstalledError
from ovseg.served_models import EVERYTHING, JSON_MODEL, ServedModel, triton_name
from ovseg.server.backoff import Backoff
from ovseg.server.child_process import process_state
from ovseg.server.errors import ServerStartError
from ovseg.server.model_control import ModelControlError, connected
from ovseg.server.model_sets import TRITON_MODELS, write_further_set
from ovseg.server.service_status import StatusWriter
from ovseg.server.stage_replacement import LOOK_INTERVAL_S, NeedsRestartError, Say, StageReplacer
from ovseg.server.stubs import StubWatch
from ovseg.server.triton_heartbeat import Heartbeat
from ovseg.server.triton_process import TritonKilledError, TritonProcess
from ovseg.server.warm_up import warm_up
from ovseg.settings import Settings


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
        self._stages = StageReplacer(settings, status, say, self._stopping)
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
            except NeedsRestartError as error:
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
            raise ServerStartError(cause + self._stages.out_of_memory()) from None
        self._served = served

    def _watch(self, triton: TritonProcess) -> None:
        """Watch until told to stop.

        Raises:
            NeedsRestartError: tritonserver must be started anew.
        """
        stubs = StubWatch(triton.pid, triton.clock_folder, self._settings.is_hanging_after_s)
        with Heartbeat(self._settings.triton_grpc_address) as heartbeat:
            while not self._stopping.wait(LOOK_INTERVAL_S):
                self._check_server(triton, heartbeat)
                if dead := stubs.dead():
                    self._stages.replace(dead, stubs, triton, self._served)
                    heartbeat.served = []  # What it saw meanwhile was not all.
                elif stubs.has_unknown_dead:
                    raise NeedsRestartError("a stage died before it was known")
                elif any(model.is_default for model in heartbeat.served):
                    self._served = heartbeat.served
                    self._further = [model.name for model in self._served if not model.is_default]
        if stubs.kept_by_triton:
            triton.kill()  # It would wait for the requests that ended with them.

    def _check_server(self, triton: TritonProcess, heartbeat: Heartbeat) -> None:
        if triton.poll() is not None:
            raise NeedsRestartError(triton.end_cause())
        limit = self._settings.is_hanging_after_s
        state = process_state(triton.pid)
        if state and state.letter == "T":
            if heartbeat.silent_s > 2.0:
                raise NeedsRestartError("tritonserver was stopped by a signal")
        elif heartbeat.silent_s > limit:
            raise NeedsRestartError(f"tritonserver has not answered for {limit:g} s")
