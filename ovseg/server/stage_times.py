"""Where a request's time went, from Triton's own per-model statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("preprocess", "sam_encoder", "prompt_decoder", "postprocess", "visualize")
_NS_PER_MS = 1e6


class StageTimes(dict[str, float]):
    """Milliseconds of each stage that ran, by name; filled when the watched block ends."""

    cache_hit: bool = False
    """Whether the embedding came from Triton's response cache."""


@contextmanager
def watch_stages(grpc_address: str) -> Iterator[StageTimes]:
    """Measure what the requests sent within the block cost in each stage.

    Counts everybody's requests: meant for a server that nobody else uses meanwhile.
    """
    import tritonclient.grpc as triton

    times = StageTimes()
    with triton.InferenceServerClient(grpc_address) as client:

        def totals() -> dict[str, int]:
            found = {}
            for stage in STAGES:
                stats = client.get_inference_statistics(stage).model_stats[0].inference_stats
                # What the stage itself takes: copying its tensors in and out counts, queueing
                # behind other requests does not.
                found[stage] = (
                    stats.compute_input.ns + stats.compute_infer.ns + stats.compute_output.ns
                )
            embed = client.get_inference_statistics("embed").model_stats[0].inference_stats
            return {**found, "hits": embed.cache_hit.count}

        before = totals()
        yield times
        after = totals()
    for stage in STAGES:
        if spent := after[stage] - before[stage]:
            times[stage] = spent / _NS_PER_MS
    times.cache_hit = after["hits"] > before["hits"]
