"""The supervisor's restarts, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ovseg.server.service_status import ServiceStatus


class _StatusCollector(Collector):
    def __init__(self, status: ServiceStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        restarts = CounterMetricFamily(
            "ovseg_restarts",
            'Processes that died and were started again: a stage\'s name, "triton" or "gateway".',
            labels=["part"],
        )
        for part, count in self._status.restarts.items():
            restarts.add_metric([part], count)
        yield restarts
        yield GaugeMetricFamily(
            "ovseg_whole",
            "1 while every stage works, as the supervisor sees it.",
            value=int(self._status.is_whole),
        )


def render_status(status: ServiceStatus) -> bytes:
    """`ovseg_restarts_total` and `ovseg_whole`."""
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))
    return generate_latest(registry)
