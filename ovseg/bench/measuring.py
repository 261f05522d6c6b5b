"""Latency one request at a time, interleaved between servers; throughput of many clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovseg.bench.callers import Answer, Caller
from ovseg.bench.results import Latency, Throughput
from ovseg.bench.workload import MIXES, Scenario, mixed_requests

_LEAST_SAMPLES = 3
_GRACE_S = 5.0
_TOLD_FAILURES = 3


@dataclass(frozen=True)
class Target:
    """A server under test, and how to connect to it."""

    name: str
    connect: Callable[[], Caller]


def measure_latency(
    targets: Sequence[Target],
    scenario: Scenario,
    photo: bytes,
    samples: int,
    budget_s: float,
    timeout_s: float,
) -> tuple[list[Latency], dict[str, Answer]]:
    """Ask all servers in turn, again and again.

    Args:
        targets: the servers; in each round each is asked once, so that what disturbs the machine
            disturbs all of them.
        scenario: what to ask.
        photo: the image file.
        samples: rounds, if there is time for them.
        budget_s: no round begins after this many seconds, but three are made whatever they take.
        timeout_s: longest time for one answer.

    Returns:
        The latencies, and each server's last answer.
    """
    found = [Latency(scenario.name, target.name) for target in targets]
    answers: dict[str, Answer] = {}
    callers = [target.connect() for target in targets]
    started = time.monotonic()
    try:
        for caller in callers:
            caller.ask(scenario.request(photo), timeout_s)  # not counted: caches, first touch
        for done in range(samples):
            if done >= _LEAST_SAMPLES and time.monotonic() - started > budget_s:
                break
            for target, caller, latency in zip(targets, callers, found, strict=True):
                answer = caller.ask(scenario.request(photo), timeout_s)
                if answer.failure is None:
                    latency.milliseconds.append(answer.seconds * 1e3)
                    answers[target.name] = answer
                else:
                    latency.failures.append(answer.failure)
    finally:
        for caller in callers:
            caller.close()
    return found, answers


def measure_throughput(
    target: Target, mix: str, clients: int, photo: bytes, seconds: float
) -> Throughput:
    """Let a number of clients ask one after another for some seconds, each waiting for its answer.

    What is answered within a few seconds after the end still counts, with the time that it took;
    what is not is counted as unanswered.
    """
    found = Throughput(mix, clients, target.name, seconds)
    lock = threading.Lock()
    started = time.monotonic()
    deadline = started + seconds
    finished = started

    def client(number: int) -> None:
        nonlocal finished
        caller = target.connect()
        requests = mixed_requests(photo, MIXES[mix], seed=number)
        try:
            for request in requests:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                answer = caller.ask(request, left + _GRACE_S)
                now = time.monotonic()
                with lock:
                    if answer.failure is None:
                        found.milliseconds.append(answer.seconds * 1e3)
                        finished = max(finished, now)
                    elif now >= deadline:
                        found.unanswered += 1
                        return
                    else:
                        found.failed += 1
                        if found.failed <= _TOLD_FAILURES:
                            found.failures.append(answer.failure)
        finally:
            caller.close()

    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = max(seconds, finished - started)
    return found


def mask_ious(ours: Answer, theirs: Answer) -> list[float]:
    """Intersection over union of the masks of two answers to one request, in order."""
    return [
        _iou(_decode(mine), _decode(other))
        for mine, other in zip(ours.rles, theirs.rles, strict=True)
    ]


def _decode(rle: dict[str, Any]) -> Any:
    return coco_mask.decode(rle).astype(bool)


def _iou(a: Any, b: Any) -> float:
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union
