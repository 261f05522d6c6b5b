"""Prometheus metrics of the gateway, of one process or of several workers together.

With `PROMETHEUS_MULTIPROC_DIR` in the environment the library keeps each process's values in files
there, and any worker's `/metrics` shows the sum of all.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from ovseg_gateway.context import RequestContext

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_REASONS = {401: "unauthorized", 404: "not_found", 405: "not_found"}
"""Of refusals that nobody gave a reason for; other statuses are "invalid" or "failed"."""


class Metrics:
    """The counters of one application, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answered HTTP requests.", "route", "status")
        self._latency = self._histogram(
            "request_seconds", "Time from a request's head to the end of its answer.", "route"
        )
        self._parts = self._histogram(
            "part_seconds", "Time spent in each part of a request, Triton's stages too.", "part"
        )
        self._refusals = self._counter(
            "refusals", "Requests that ended without a result, by reason.", "reason"
        )
        self._embeddings = self._counter(
            "embeddings", "Answers by where the image's embedding came from: hit or miss.", "cache"
        )
        self._joined = self._counter(
            "joined_requests",
            "Requests that waited for another request to have the same image encoded.",
        )
        self.in_flight = self._gauge("in_flight_requests", "HTTP requests under way.")
        self.waiting = self._gauge("waiting_requests", "Requests that wait for their turn.")
        self.running = self._gauge("running_requests", "Requests that Triton works on.")
        self.held_bytes = self._gauge("held_body_bytes", "Bytes of bodies of requests under way.")

    def observe(self, route: str, status: int, context: RequestContext) -> None:
        """Count one finished request; `status` is 499 where the caller left before the answer."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(context.elapsed)
        if status >= 400:
            self._refusals.labels(context.refusal or _reason(status)).inc()
        if context.cache_hit is not None:
            self._embeddings.labels("hit" if context.cache_hit else "miss").inc()
        if "wait" in context.durations:
            self._joined.inc()
        for part, seconds in context.durations.items():
            self._parts.labels(part).observe(seconds)

    def render(self) -> bytes:
        """The metrics in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        of_all_workers = CollectorRegistry()
        MultiProcessCollector(of_all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(of_all_workers)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ovseg_gateway_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(
            f"ovseg_gateway_{name}",
            text,
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _histogram(self, name: str, text: str, label: str) -> Histogram:
        return Histogram(
            f"ovseg_gateway_{name}",
            text,
            [label],
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )


def _reason(status: int) -> str:
    return _REASONS.get(status, "failed" if status >= 500 else "invalid")
