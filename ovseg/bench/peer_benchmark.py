"""`ovseg bench peer`: PaddleX and this service, the same weights, in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ovseg.bench.callers import GrpcCaller, RestCaller
from ovseg.bench.machine import describe_machine, describe_versions, has_cpu_flag
from ovseg.bench.measuring import Target, mask_ious, measure_latency, measure_throughput
from ovseg.bench.memory import watch_memory
from ovseg.bench.peer_server import (
    AS_SHIPPED,
    HIGH_PERFORMANCE,
    TUNED,
    TUNED_BF16,
    PeerError,
    PeerServer,
)
from ovseg.bench.results import BenchmarkResult, Fidelity, TargetResult
from ovseg.bench.workload import MIXES, SCENARIOS, Scenario, make_photo
from ovseg.exporting.export_model import export_model
from ovseg.manifest import ModelManifest
from ovseg.server.service import Service, running_service

OURS = "ovseg"
OURS_GRPC = "ovseg, gRPC"
_MEMORY_SCENARIOS = (
    Scenario("new image, 16 boxes, picture", 16, picture=True, new_image=True),
    Scenario("new image, 1 point", 1, "point", new_image=True),
    Scenario("next prompt, 64 boxes", 64),
)


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Attributes:
        samples: rounds of each latency scenario, if there is time.
        scenario_s: seconds for each latency scenario.
        throughput_s: seconds for each mix at each number of clients on each server; 0: none.
        clients: numbers of clients.
        timeout_s: longest time for one answer.
        scenarios: names of the latency scenarios.
        peers: which PaddleX servers, by parts of their names; none: all that run.
    """

    samples: int
    scenario_s: float
    throughput_s: float
    clients: tuple[int, ...]
    timeout_s: float = 600.0
    scenarios: tuple[str, ...] = tuple(scenario.name for scenario in SCENARIOS)
    peers: tuple[str, ...] = ()


QUICK = Options(samples=5, scenario_s=15.0, throughput_s=4.0, clients=(1, 16))
FULL = Options(samples=40, scenario_s=60.0, throughput_s=15.0, clients=(1, 4, 16, 64))


@dataclass(frozen=True)
class Progress:
    """Who hears what is going on.

    Attributes:
        say: a line for people.
        steps: called once with the number of steps.
        step: called at the start of each with what it is.
    """

    say: Callable[[str], None]
    steps: Callable[[int], None]
    step: Callable[[str], None]


def run_peer_benchmark(
    model_folder: Path, peer_python: Path, options: Options, progress: Progress
) -> BenchmarkResult:
    """Measure; stops all servers whatever happens.

    Raises:
        ServerStartError: our service does not start.
        PeerError: the peer as shipped does not start (other variants of it become notes), or
            none was wanted.
        ExportError: the model cannot be exported in PaddleX's format.
    """
    manifest = ModelManifest.load(model_folder)
    result = BenchmarkResult(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        model=manifest.name,
        parameters=manifest.parameters,
        machine=describe_machine(),
        versions=describe_versions(),
        options={name: str(value) for name, value in vars(options).items()},
    )
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovseg-bench-")))
        progress.say(f"exporting {manifest.name} in PaddleX's format …")
        export_model(model_folder, "paddlex", work / "exported")
        progress.say("starting this service …")
        started = time.monotonic()
        environment = {
            "OVSEG_MODEL": model_folder.name,
            "OVSEG_MODEL_DIR": str(model_folder.parent),
            "OVSEG_REQUEST_TIMEOUT_S": str(options.timeout_s),
        }
        service = stack.enter_context(running_service(environment, timeout_s=600.0))
        result.targets.append(
            TargetResult(OURS, "`ovseg serve`, its defaults", time.monotonic() - started)
        )
        peers = _start_peers(peer_python, work, options.peers, result, stack, progress)
        _Run(service, peers, options, progress, result).everything()
    return result


class _Run:
    """The measurements on servers that are up."""

    def __init__(
        self,
        service: Service,
        peers: Sequence[PeerServer],
        options: Options,
        progress: Progress,
        result: BenchmarkResult,
    ) -> None:
        self._service = service
        self._peers = {peer.variant.name: peer for peer in peers}
        self._options = options
        self._progress = progress
        self._result = result
        self._photo = make_photo()
        self._rest = [
            Target(OURS, lambda: RestCaller(service.base_url)),
            *(Target(peer.variant.name, _connector(peer)) for peer in peers),
        ]

    def everything(self) -> None:
        """Memory, latency and fidelity, throughput."""
        cells = len(MIXES) * len(self._options.clients) if self._options.throughput_s else 0
        self._progress.steps(len(self._rest) + len(self._options.scenarios) + cells)
        self._memory()
        for scenario in SCENARIOS:
            if scenario.name in self._options.scenarios:
                self._latency(scenario)
        if cells:
            for mix in MIXES:
                for clients in self._options.clients:
                    self._throughput(mix, clients)

    def _memory(self) -> None:
        pids = {OURS: self._service.process.pid}
        pids |= {name: peer.pid for name, peer in self._peers.items()}
        for target, found in zip(self._rest, self._result.targets, strict=True):
            self._progress.step(f"memory of {target.name}")
            caller = target.connect()
            with watch_memory(pids[target.name]) as peak:
                for scenario in _MEMORY_SCENARIOS:
                    answer = caller.ask(scenario.request(self._photo), self._options.timeout_s)
                    if answer.failure:
                        self._result.notes.append(
                            f"{target.name}, {scenario.name}: {answer.failure}"
                        )
            caller.close()
            found.peak_memory_bytes = peak.bytes

    def _latency(self, scenario: Scenario) -> None:
        self._progress.step(scenario.name)
        grpc = Target(OURS_GRPC, lambda: GrpcCaller(self._service.grpc_address))
        latencies, answers = measure_latency(
            [self._rest[0], grpc, *self._rest[1:]],
            scenario,
            self._photo,
            self._options.samples,
            self._options.scenario_s * len(self._rest),
            self._options.timeout_s,
        )
        self._result.latencies += latencies
        for target in self._rest[1:]:
            if OURS in answers and target.name in answers:
                ious = mask_ious(answers[OURS], answers[target.name])
                self._result.fidelity.append(Fidelity(scenario.name, target.name, ious))

    def _throughput(self, mix: str, clients: int) -> None:
        self._progress.step(f"{clients} clients, {mix}")
        for target in self._rest:
            found = measure_throughput(
                target, mix, clients, self._photo, self._options.throughput_s
            )
            self._result.throughput.append(found)
            if found.unanswered:
                self._settle(target)

    def _settle(self, target: Target) -> None:
        """Wait until a server has worked off what nobody waits for any more, or restart it."""
        if target.name in self._peers:
            self._peers[target.name].stop()
            self._peers[target.name].start()
            return
        caller = target.connect()
        caller.ask(SCENARIOS[1].request(self._photo), self._options.timeout_s)
        caller.close()


def _connector(peer: PeerServer) -> Callable[[], RestCaller]:
    return lambda: RestCaller(peer.base_url)  # it changes when the peer is restarted


def _start_peers(
    python: Path,
    work: Path,
    wanted: Sequence[str],
    result: BenchmarkResult,
    stack: ExitStack,
    progress: Progress,
) -> list[PeerServer]:
    variants = [AS_SHIPPED, TUNED, HIGH_PERFORMANCE]
    if has_cpu_flag("avx512_bf16") or has_cpu_flag("amx_bf16"):
        variants.insert(2, TUNED_BF16)
    else:
        result.notes.append("PaddleX in bf16 is not measured: this CPU has no bf16 instructions.")
    peers = []
    for variant in variants:
        if wanted and not any(part in variant.name for part in wanted):
            result.notes.append(f"{variant.name} was left out.")
            continue
        progress.say(f"starting {variant.name} …")
        peer = PeerServer(python, work / "exported", variant, work / "peers")
        try:
            seconds = stack.enter_context(_running(peer))
        except PeerError as error:
            if variant == AS_SHIPPED:
                raise
            result.notes.append(f"{variant.name} ({variant.description}) does not run: {error}")
            continue
        result.targets.append(TargetResult(variant.name, variant.description, seconds))
        peers.append(peer)
    if not peers:
        names = ", ".join(variant.name for variant in variants)
        raise PeerError(f"none of the servers ({names}) is named like {', '.join(wanted)}")
    return peers


@contextmanager
def _running(peer: PeerServer) -> Iterator[float]:
    try:
        yield peer.start()
    finally:
        peer.stop()
