"""What the supervisor tells the gateways, in /metrics."""

from __future__ import annotations

from pathlib import Path

import httpx
from ovseg_gateway.app import create_app
from ovseg_gateway.restart_metrics import render_status
from prometheus_client.parser import text_string_to_metric_families

from ovseg.server.service_status import StatusReader, StatusWriter
from ovseg.settings import Settings
from tests.gateway.conftest import served
from tests.gateway.fake_triton import FakeTriton

Samples = dict[tuple[str, str | None], float]


def samples(text: str) -> Samples:
    """Values by name and part; a text that Prometheus could not read fails."""
    return {
        (sample.name, sample.labels.get("part")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_restarts_are_counted_by_part(tmp_path: Path) -> None:
    written = StatusWriter(tmp_path / "status.json", ["gateway", "triton"])
    read = StatusReader(tmp_path / "status.json")

    def metrics() -> Samples:
        return samples(render_status(read.read()).decode("ascii"))

    none: Samples = {
        ("ovseg_restarts_total", "gateway"): 0.0,
        ("ovseg_restarts_total", "triton"): 0.0,
    }
    assert metrics() == {("ovseg_whole", None): 0.0, **none}  # It starts.
    written.set_whole()
    assert metrics() == {("ovseg_whole", None): 1.0, **none}
    for part in ("triton", "sam_encoder", "triton"):
        written.count_restart(part)
    written.set_broken("stage sam_encoder was killed by SIGKILL", ("sam_mini",))
    assert metrics() == {
        ("ovseg_whole", None): 0.0,
        ("ovseg_restarts_total", "gateway"): 0.0,
        ("ovseg_restarts_total", "triton"): 2.0,
        ("ovseg_restarts_total", "sam_encoder"): 1.0,
    }


def test_they_stand_behind_the_gateways_own(tmp_path: Path, triton: FakeTriton) -> None:
    StatusWriter(tmp_path / "status.json").count_restart("gateway")
    app = create_app(Settings(), client=triton, status=StatusReader(tmp_path / "status.json"))
    with served(app) as base_url:
        found = samples(httpx.get(f"{base_url}/metrics", trust_env=False).text)

    assert found["ovseg_restarts_total", "gateway"] == 1.0
    assert ("ovseg_gateway_waiting_requests", None) in found
