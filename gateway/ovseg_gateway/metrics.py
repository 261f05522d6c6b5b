"""Prometheus metrics of the gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ovseg_gateway.context import RequestContext

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one application, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ovseg_gateway_requests",
            "Answered HTTP requests.",
            ["route", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "ovseg_gateway_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._parts = Histogram(
            "ovseg_gateway_part_seconds",
            "Time spent in each part of a request.",
            ["part"],
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._joined = Counter(
            "ovseg_gateway_joined_requests",
            "Requests that waited for another request to have the same image encoded.",
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "ovseg_gateway_in_flight_requests",
            "HTTP requests under way.",
            registry=self._registry,
        )

    def observe(self, route: str, status: int, context: RequestContext) -> None:
        """Count one finished request; `status` is 0 where the client left before the answer."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(context.elapsed)
        if "wait" in context.durations:
            self._joined.inc()
        for part, seconds in context.durations.items():
            self._parts.labels(part).observe(seconds)

    def render(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)
