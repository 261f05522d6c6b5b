"""The soak itself: callers, faults and the watch over a service, until the time is up."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from msgspec.structs import replace

from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.bad_traffic import MAX_BODY_BYTES, MAX_IMAGE_BYTES
from loadtest.soak.exchanges import Addresses, Exchange, post
from loadtest.soak.faults import Fault, Injected, Site, inject
from loadtest.soak.good_traffic import SECOND_MODEL, grpc_trial, questions, rest_trial
from loadtest.soak.hostile_server import ADDRESS
from loadtest.soak.hostile_traffic import MixedTraffic
from loadtest.soak.ledger import Ledger, Verdict
from loadtest.soak.processes import Sample, Watch, service_processes
from loadtest.soak.trials import Question, Trial
from ovseg.checkpoints.bundled import install_bundled_model
from ovseg.manifest import ModelManifest
from ovseg.server.ports import free_ports
from ovseg.server.service import Service, running_service
from ovseg.server.shared_memory import SHARED_MEMORY_FOLDER, shared_memory_prefix
from ovseg.settings import BUNDLED_MODEL, get_settings

LOWEST_IOU = 0.999
LIVE = "GET /health/live"
"""The kind of the requests that must be answered throughout."""
LIVE_EVERY_S = 0.5
BACK_OFF_S = 1.0
"""What a caller waits after a request that failed: what Retry-After usually says."""
CACHE_BYTES = 64 * 1024 * 1024
"""Of embeddings; so small that it is full, and forgets, after the first minute."""
REQUEST_TIMEOUT_S, URL_TIMEOUT_S = 20, 3
_PORTS = ("OVSEG_PORT", "OVSEG_GRPC_PORT", "OVSEG_TRITON_HTTP_PORT", "OVSEG_METRICS_PORT")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a soak does."""

    seconds: float
    fault_every_s: float
    callers: int
    pause_s: float
    """Mean of a caller's pauses: together they must ask for less than the service can do."""
    seed: int
    faults: list[Fault]

    @property
    def cycle_s(self) -> float:
        """How long it takes until each fault has been injected once."""
        return len(self.faults) * self.fault_every_s


@dataclass
class Outcome:
    """All that a soak found."""

    plan: Plan
    ledger: Ledger
    seconds: float = 0.0
    """It really took."""
    interrupted: bool = False
    injected: list[Injected] = field(default_factory=list)
    samples: list[tuple[float, Sample]] = field(default_factory=list)
    service_ended: bool = False
    """The supervisor ended by itself."""
    exit_code: int | None = None
    """Of the service, when told to stop at the end."""
    stop_seconds: float = 0.0
    left_behind: list[str] = field(default_factory=list)
    """Processes and shared memory that outlived the service."""


@contextmanager
def soaked_service(
    log: Path, say: Say, further_settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Service, Mapping[str, str]]]:
    """A service with the bundled model under two names, and its settings; it prints to `log`."""
    installed = get_settings().model_dir
    install_bundled_model(installed, say)
    with TemporaryDirectory(prefix="ovseg-soak-") as folder:
        models = Path(folder)
        for name in (BUNDLED_MODEL, SECOND_MODEL):
            shutil.copytree(installed / BUNDLED_MODEL, models / name)
        manifest = ModelManifest.load(models / BUNDLED_MODEL)
        renamed = replace(manifest, name=SECOND_MODEL)
        renamed.save(models / SECOND_MODEL)
        settings = {
            **{name: str(port) for name, port in zip(_PORTS, free_ports(4), strict=True)},
            "OVSEG_MODEL_DIR": folder,
            "OVSEG_MODEL": BUNDLED_MODEL,
            "OVSEG_MODELS": SECOND_MODEL,
            "OVSEG_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
            "OVSEG_MAX_IMAGE_BYTES": str(MAX_IMAGE_BYTES),
            "OVSEG_URL_ALLOW_NETWORKS": f"{ADDRESS}/32",
            "OVSEG_URL_TIMEOUT_S": str(URL_TIMEOUT_S),
            "OVSEG_CACHE_SIZE_BYTES": str(CACHE_BYTES),
            "OVSEG_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
            **(further_settings or {}),
        }
        with running_service(settings, log=log) as service:
            yield service, settings


def learn_masks(addresses: Addresses) -> ExpectedMasks[Question]:
    """The masks of the quiet service, the same over both protocols.

    Raises:
        ValueError: it does not answer, or the protocols differ.
    """
    requests = questions()
    expected: ExpectedMasks[Question] = ExpectedMasks(LOWEST_IOU)

    def ask(question: Question) -> list[Mapping[str, object]]:
        found = rest_trial("", question, requests[question]).send(addresses)
        same = grpc_trial("", question, requests[question]).send(addresses)
        if not found.rles or found.rles != same.rles:
            message = found.message if not found.rles else "REST and gRPC give different masks"
            raise ValueError(f"no masks to compare with: {question}: {message}")
        return list(found.rles)

    expected.learn(requests, ask)
    return expected


class Soak:
    """One run against a service that is up."""

    def __init__(
        self,
        plan: Plan,
        service: Service,
        settings: Mapping[str, str],
        hostile_url: str,
        say: Say,
    ) -> None:
        """Learn the masks of the service while it is quiet.

        Args:
            plan: what to do.
            service: a `soaked_service`.
            settings: its environment.
            hostile_url: the address of a `hostile_server`.
            say: takes lines for the person at the terminal.

        Raises:
            ValueError: the service gives no masks to compare with.
        """
        gateway = urlsplit(service.base_url)
        self._addresses = Addresses(gateway.hostname or "", gateway.port or 0, service.grpc_address)
        self._service = service
        self._say = say
        self._prefix = shared_memory_prefix(service.process.pid)
        self._finished = threading.Event()
        self._fault_over = threading.Event()
        self._fault_over.set()
        self._traffic = MixedTraffic(hostile_url)
        self.outcome = Outcome(plan, Ledger(learn_masks(self._addresses)))
        self._site = Site(
            pid=service.process.pid,
            addresses=self._addresses,
            environment=settings,
            ledger=self.outcome.ledger,
            traffic=self._traffic.good,
            perform=self._perform,
            numbers=random.Random(f"{plan.seed} faults"),
            is_over=self._finished.is_set,
        )
        self.watch = Watch(service.process.pid, self._prefix)

    def run(self, show: Callable[[float], None]) -> Outcome:
        """Until the time is up, Ctrl-C, or the service's end; `show` gets the seconds so far."""
        plan, outcome = self.outcome.plan, self.outcome
        numbers = range(plan.callers)
        threads = [
            *(threading.Thread(target=self._caller, args=(n,), daemon=True) for n in numbers),
            threading.Thread(target=self._ask_whether_alive, daemon=True),
            threading.Thread(target=self._inject_faults, daemon=True),
        ]
        started = outcome.ledger.started = time.monotonic()
        with self.watch:
            for thread in threads:
                thread.start()
            try:
                while (elapsed := time.monotonic() - started) < plan.seconds:
                    show(elapsed)
                    if self._service.process.poll() is not None:
                        outcome.service_ended = True
                        break
                    time.sleep(0.5)
            except KeyboardInterrupt:
                outcome.interrupted = True
                outcome.ledger.close()
                self._say("interrupted: waiting for the requests under way …")
            if not (outcome.interrupted or outcome.service_ended):
                self._fault_over.wait()  # One that began before the end is seen through.
            self._finished.set()
            for thread in threads:
                thread.join()
        outcome.seconds = time.monotonic() - started
        outcome.samples = self.watch.samples
        self._stop()
        return outcome

    def _perform(self, trial: Trial) -> Verdict:
        ledger = self.outcome.ledger
        ledger.note_sent(trial)
        sent = time.monotonic()
        try:
            exchange = trial.send(self._addresses)
        except Exception as error:  # A caller's thread must not end unseen.
            message = f"the soak's own failure: {error!r}"
            exchange = Exchange(sent, time.monotonic(), "hung", message=message)
        return ledger.note_end(trial, exchange)

    def _caller(self, number: int) -> None:
        numbers = random.Random(f"{self.outcome.plan.seed} caller {number}")
        while not self._finished.is_set():
            failed = self._perform(self._traffic.next(numbers)) not in ("right", "left")
            pause_s = numbers.expovariate(1.0 / self.outcome.plan.pause_s)
            self._finished.wait(max(pause_s, BACK_OFF_S) if failed else pause_s)

    def _ask_whether_alive(self) -> None:
        def send(addresses: Addresses) -> Exchange:
            return post(addresses, b"", {}, method="GET", path="/health/live")

        while not self._finished.wait(LIVE_EVERY_S):
            self._perform(Trial(LIVE, "good", send, never_busy=True))

    def _inject_faults(self) -> None:
        plan, ledger = self.outcome.plan, self.outcome.ledger
        faults = itertools.cycle(plan.faults)
        for due in itertools.count(1):
            at = ledger.started + due * plan.fault_every_s
            if at >= ledger.started + plan.seconds:
                return  # Its recovery would not be seen.
            if self._finished.wait(max(at - time.monotonic(), 0.0)):
                return
            if not plan.faults:
                return
            self._fault_over.clear()
            injected = inject(self._site, next(faults))
            self._fault_over.set()
            if injected is None:
                return
            self.outcome.injected.append(injected)
            recovered = injected.recovery_s
            after = "not whole again" if recovered is None else f"whole after {recovered:.1f} s"
            self._say(f"{injected.fault} ({injected.what}): {after}")

    def _stop(self) -> None:
        outcome = self.outcome
        processes = [p for found in service_processes(self._site.pid).values() for p in found]
        started = time.monotonic()
        outcome.exit_code = self._service.stop()
        outcome.stop_seconds = time.monotonic() - started
        time.sleep(1.0)
        outcome.left_behind = [
            *(f"process {process.pid}" for process in processes if process.is_running()),
            *(str(region) for region in SHARED_MEMORY_FOLDER.glob(f"{self._prefix}*")),
        ]
