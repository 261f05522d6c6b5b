"""What is done to the service every minute, and how long it takes to be whole again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from loadtest.soak.exchanges import Addresses, post
from loadtest.soak.good_traffic import SECOND_MODEL, GoodTraffic
from loadtest.soak.hostile_traffic import leaving
from loadtest.soak.ledger import Ledger, Verdict
from loadtest.soak.processes import service_processes
from loadtest.soak.trials import Trial
from ovseg.manifest import MANIFEST_FILE_NAME

STAGES = ("preprocess", "sam_encoder", "prompt_decoder", "postprocess", "visualize")
STOPPED_S = 4.0
BURST_CALLERS, BURST_REQUESTS = 96, 2
LEAVING_CALLERS = 100
GIVE_UP_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Site:
    """Where faults are injected."""

    pid: int
    """The supervisor's."""
    addresses: Addresses
    environment: Mapping[str, str]
    """The service's settings."""
    ledger: Ledger
    traffic: GoodTraffic
    perform: Callable[[Trial], Verdict]
    """Sends a request and has it judged."""
    numbers: random.Random
    is_over: Callable[[], bool]
    """Whether the soak has ended, so that nothing is worth waiting for."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. `inject` returns when it is over, and says what it did."""

    name: str
    inject: Callable[[Site], str]
    cuts_rest: bool = False
    """Whether REST callers' connections break."""
    lasts: bool = False
    """Whether recovery begins when it is over, not when it starts."""


@dataclass(frozen=True)
class Injected:
    """A fault that was injected."""

    fault: str
    after_s: float
    """Since the soak's start."""
    what: str
    recovery_s: float | None
    """From the kill, or the end of the fault, until a request that needs every stage succeeded
    and `/health/ready` said so; None: not within a minute."""


def all_faults() -> list[Fault]:
    """Each of them once, in the order in which they are injected."""
    return [
        *(_kill(f"stub {stage}") for stage in STAGES),
        _kill("tritonserver"),
        _kill("gateway worker", cuts_rest=True),
        Fault(f"SIGSTOP of a stub, {STOPPED_S:g} s", _stop_a_stub, lasts=True),
        Fault(f"ovseg load {SECOND_MODEL}", _reload, lasts=True),
        Fault("overload burst", _burst, lasts=True),
        Fault(f"{LEAVING_CALLERS} callers leave at once", _leave, lasts=True),
        _kill(f"stub sam_encoder.{SECOND_MODEL}"),
    ]


def inject(site: Site, fault: Fault) -> Injected | None:
    """Inject a fault and wait until the service is whole; None if the soak ended before that."""
    trouble = site.ledger.open_trouble(fault.name, cuts_rest=fault.cuts_rest)
    try:
        what = fault.inject(site)
        since = time.monotonic() if fault.lasts else trouble.started
        recovery_s = _wait_whole(site, since)
    finally:
        trouble.ended = time.monotonic()
    if recovery_s is None and site.is_over():
        return None
    return Injected(fault.name, trouble.started - site.ledger.started, what, recovery_s)


def _wait_whole(site: Site, since: float) -> float | None:
    while time.monotonic() - since < GIVE_UP_S and not site.is_over():
        if site.perform(site.traffic.probe()) == "right":
            ready = post(site.addresses, b"", {}, method="GET", path="/health/ready")
            if ready.status == 200:
                return ready.ended - since
        time.sleep(_POLL_S)
    return None


def _kill(kind: str, *, cuts_rest: bool = False) -> Fault:
    def inject_kill(site: Site) -> str:
        found = service_processes(site.pid).get(kind, [])
        if not found:
            return f"no {kind} was running"
        victim = site.numbers.choice(found)
        with suppress(psutil.NoSuchProcess):
            victim.kill()
        return f"killed {victim.pid}"

    return Fault(f"kill -9 {kind}", inject_kill, cuts_rest)


def _stop_a_stub(site: Site) -> str:
    stage = site.numbers.choice(STAGES)
    found = service_processes(site.pid).get(f"stub {stage}", [])
    if not found:
        return f"no stub {stage} was running"
    victim = site.numbers.choice(found)
    with suppress(psutil.NoSuchProcess):
        victim.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        victim.send_signal(signal.SIGCONT)
        return f"{stage}, {victim.pid}"
    return f"{stage}, {victim.pid}, which was replaced meanwhile"


def _reload(site: Site) -> str:
    # As if it had been imported anew; else there would be nothing to replace.
    (Path(site.environment["OVSEG_MODEL_DIR"]) / SECOND_MODEL / MANIFEST_FILE_NAME).touch()
    before = _stubs(site.pid, f".{SECOND_MODEL}")
    done = subprocess.run(
        [sys.executable, "-m", "ovseg", "load", SECOND_MODEL],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    new = len(_stubs(site.pid, f".{SECOND_MODEL}") - before)
    said = (done.stdout + done.stderr).strip().splitlines()
    return f"exit code {done.returncode}, {new} new processes: {said[-1] if said else ''}"


def _stubs(pid: int, suffix: str) -> set[int]:
    kinds = service_processes(pid).items()
    return {process.pid for kind, found in kinds if kind.endswith(suffix) for process in found}


def _burst(site: Site) -> str:
    seeds = [site.numbers.random() for _ in range(BURST_CALLERS)]

    def caller(seed: float) -> list[Verdict]:
        numbers = random.Random(seed)
        trials = [site.traffic.next(numbers) for _ in range(BURST_REQUESTS)]
        return [site.perform(_of_burst(trial)) for trial in trials]

    with ThreadPoolExecutor(BURST_CALLERS) as pool:
        verdicts = [verdict for found in pool.map(caller, seeds) for verdict in found]
    return f"{verdicts.count('right')} of {len(verdicts)} answered, {verdicts.count('busy')} busy"


def _of_burst(trial: Trial) -> Trial:
    kind = f"burst, {trial.protocol}"
    return replace(trial, kind=kind, group="hostile", in_burst=trial.protocol == "REST")


def _leave(site: Site) -> str:
    trials = [
        replace(leaving(site.numbers), kind="swarm that leaves") for _ in range(LEAVING_CALLERS)
    ]
    with ThreadPoolExecutor(LEAVING_CALLERS) as pool:
        list(pool.map(site.perform, trials))
    return f"{LEAVING_CALLERS} left"
