"""Alerts and dashboards ask for what the service really exports, of whom it really runs as."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from loadtest.soak.processes import service_processes
from ovseg.server.service import Service
from ovseg.settings import Settings
from tests.deployment.compose import ROOT, load
from tests.deployment.monitoring import (
    GRAFANA,
    PROMETHEUS,
    Exported,
    exported_by,
    exported_by_gateway,
    expressions_of,
    problems,
    promtool_config,
    recorded,
    rules,
)

SERVICES = load()["services"]
DASHBOARD = json.loads((GRAFANA / "dashboards" / "ovseg.json").read_text("utf-8"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool (Debian's package prometheus) on this machine",
)


@pytest.fixture(scope="module")
def exported(standin_service: Service) -> Exported:
    """Of a gateway, of a real Triton that has answered a request, and of the rules."""
    environment = Path(f"/proc/{standin_service.process.pid}/environ").read_bytes()
    port = re.search(rb"\0OVSEG_METRICS_PORT=(\d+)\0", b"\0" + environment)
    assert port
    page = httpx.get(f"http://127.0.0.1:{int(port.group(1))}/metrics", timeout=60, trust_env=False)
    return {"up": set(), **exported_by_gateway(), **exported_by(page.text), **recorded()}


def test_the_real_gateway_exports_what_its_registry_does(standin_service: Service) -> None:
    page = httpx.get(f"{standin_service.base_url}/metrics", timeout=60, trust_env=False)
    real = exported_by(page.text)
    assert {"ovseg_whole", "ovseg_gateway_waiting_requests"} <= real.keys()
    of_process = {name for name in exported_by_gateway() if not name.endswith("_created")}
    assert real.keys() <= of_process


def test_restarts_of_every_process_are_counted_from_zero(standin_service: Service) -> None:
    """A series that begins with its first restart has no increase: nobody would be told of it."""
    page = httpx.get(f"{standin_service.base_url}/metrics", timeout=60, trust_env=False)
    counted = re.findall(r'^ovseg_restarts_total\{part="(.+)"\}', page.text, re.MULTILINE)
    kinds = service_processes(standin_service.process.pid)
    stages = {kind.removeprefix("stub ") for kind in kinds if kind.startswith("stub ")}
    assert "sam_encoder" in stages
    assert set(counted) == {"gateway", "triton"} | stages


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_name_what_is_exported(rule: dict[str, str], exported: Exported) -> None:
    assert problems(rule["expr"], exported) == []


@pytest.mark.parametrize(("panel", "expression"), expressions_of(DASHBOARD))
def test_the_dashboard_names_what_is_exported(
    panel: str, expression: str, exported: Exported
) -> None:
    assert problems(expression, exported) == [], panel


def test_the_check_finds_mistakes() -> None:
    exported = {"a_total": {"route"}}
    assert problems('sum by (route) (rate(a_total{route="x", job="y"}[5m]))', exported) == []
    assert problems("rate(b_total[5m])", exported) == ["no metric b_total"]
    assert problems('a_total{status="200"}', exported) == ["a_total has no label status"]
    assert problems("sum by (status) (a_total)", exported) == ["nothing has the label status"]
    with pytest.raises(ValueError):
        problems("sum by route (a_total", exported)


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    tested = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", promtool_config(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tested_and_explained() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == alerts
    explained = (ROOT / "docs" / "DEPLOYMENT.md").read_text("utf-8")
    assert all(f"`{alert}`" in explained for alert in alerts)


def test_prometheus_asks_the_services_of_the_compose_file() -> None:
    settings = Settings()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (triton,) = jobs["ovseg-triton"]["static_configs"]
    assert triton["targets"] == [f"triton:{settings.metrics_port}"]
    for name in ("gateway.yml", "gateway-tls.yml"):
        (gateway,) = yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))
        assert gateway["targets"] == [f"gateway:{settings.port}"]
    token = jobs["ovseg-gateway"]["authorization"]["credentials_file"]
    assert SERVICES["prometheus"]["secrets"] == [token.removeprefix("/run/secrets/")]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = GRAFANA / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text("utf-8"))
    (source,) = sources["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    for panel in DASHBOARD["panels"]:
        for asked in (panel, *panel.get("targets", ())):
            assert asked.get("datasource", {"uid": source["uid"]})["uid"] == source["uid"]
    providers = yaml.safe_load((provisioning / "dashboards/ovseg.yml").read_text("utf-8"))
    (provider,) = providers["providers"]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
