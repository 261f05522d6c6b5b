"""`ovseg bench breakdown`: where the time of a request goes, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from ovseg.bench.callers import Answer, Caller, GrpcCaller, RestCaller
from ovseg.bench.workload import SCENARIOS, SIZE, Request, Scenario, make_photo
from ovseg.server.service import Service
from ovseg.server.stage_times import watch_stages

CLIENT = "client and transport"
PARTS = (
    "receive", "json", "base64", "wait", "queue", "preprocess", "encoder", "decoder", "rle",
    "drawing", "answer",
)  # fmt: skip
"""Names in `Server-Timing`, in the order in which they happen."""
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Breakdown:
    """One kind of request, milliseconds, medians.

    Attributes:
        scenario: what was asked.
        parts: by name, in the order in which they happen; those that never ran are left out.
        rest_total: seen by a REST client.
        grpc_total: seen by a gRPC client.
        grpc_stages: what Triton's stages took of `grpc_total`, by Triton's statistics.
    """

    scenario: str
    parts: dict[str, float]
    rest_total: float
    grpc_total: float
    grpc_stages: dict[str, float]

    @property
    def rest_overhead(self) -> float:
        """What a REST request takes beside the encoder and the decoder."""
        neural = self.parts.get("encoder", 0.0) + self.parts.get("decoder", 0.0)
        return self.rest_total - neural

    @property
    def grpc_overhead(self) -> float:
        """What a gRPC request takes beside the encoder and the decoder."""
        neural = self.grpc_stages.get("sam_encoder", 0.0)
        return self.grpc_total - neural - self.grpc_stages.get("prompt_decoder", 0.0)


class BreakdownError(Exception):
    """A request failed; the message says how."""


def measure_breakdowns(
    service: Service, samples: int, say: Callable[[str], None], size: tuple[int, int] = SIZE
) -> list[Breakdown]:
    """Take every scenario apart, REST and gRPC in turn, on a photo of some width and height.

    Raises:
        BreakdownError: the service does not answer.
    """
    found = []
    for scenario in SCENARIOS:
        say(scenario.name)
        found.append(_measure(service, scenario, samples, make_photo(size=size)))
    return found


def _measure(service: Service, scenario: Scenario, samples: int, photo: bytes) -> Breakdown:
    rest, grpc = RestCaller(service.base_url), GrpcCaller(service.grpc_address)
    timings: list[dict[str, float]] = []
    rest_totals: list[float] = []
    grpc_totals: list[float] = []
    grpc_stages: list[dict[str, float]] = []
    try:
        for number in range(samples + 1):
            answer = _asked(rest, scenario.request(photo))
            # Outside the timed call: asking for statistics takes time too.
            with watch_stages(service.grpc_address) as stages:
                direct = _asked(grpc, scenario.request(photo))
            if number == 0:
                continue  # It filled the cache.
            rest_totals.append(answer.seconds * 1e3)
            timings.append(answer.timings)
            grpc_totals.append(direct.seconds * 1e3)
            grpc_stages.append(dict(stages))
    finally:
        rest.close()
        grpc.close()
    parts = {
        name: median(timing.get(name, 0.0) for timing in timings)
        for name in PARTS
        if any(name in timing for timing in timings)
    }
    parts[CLIENT] = median(
        total - timing["total"] for total, timing in zip(rest_totals, timings, strict=True)
    )
    stage_names = sorted({name for stages in grpc_stages for name in stages})
    return Breakdown(
        scenario.name,
        parts,
        median(rest_totals),
        median(grpc_totals),
        {name: median(stages.get(name, 0.0) for stages in grpc_stages) for name in stage_names},
    )


def _asked(caller: Caller, request: Request) -> Answer:
    answer = caller.ask(request, _TIMEOUT_S)
    if answer.failure is not None:
        raise BreakdownError(answer.failure)
    return answer
