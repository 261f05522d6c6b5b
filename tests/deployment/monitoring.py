"""What the service exports, and what Prometheus' expressions name of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml
from ovseg_gateway.context import RequestContext
from ovseg_gateway.metrics import Metrics
from ovseg_gateway.restart_metrics import render_status

from ovseg.server.service_status import ServiceStatus
from tests.deployment.compose import ROOT

PROMETHEUS = ROOT / "deploy" / "monitoring" / "prometheus"
GRAFANA = ROOT / "deploy" / "monitoring" / "grafana"
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="')
OF_PROMETHEUS = {"job", "instance"}
"""Labels that every scraped series has."""

Exported = Mapping[str, set[str]]
"""Labels by the metric's name."""


def exported_by(text: str) -> dict[str, set[str]]:
    """What a `/metrics` page has."""
    found: dict[str, set[str]] = {}
    # Not by prometheus_client's parser, which renames Triton's counters.
    for name, labels in _SAMPLE.findall(text):
        found.setdefault(name, set()).update(_LABEL.findall(labels))
    return found


def exported_by_gateway() -> dict[str, set[str]]:
    """All of it, after one request that went through every part."""
    metrics = Metrics()
    context = RequestContext(
        cache_hit=True, durations={"json": 0.1, "wait": 0.2}, refusal="overload"
    )
    metrics.observe("/open-vocabulary-segmentation", 503, context)
    restarts = render_status(ServiceStatus(is_whole=True, restarts={"sam_encoder": 1}))
    return exported_by((metrics.render() + restarts).decode())


def rules() -> list[dict[str, Any]]:
    """Alerts and recorded expressions."""
    document = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    """What the rules themselves add."""
    return {rule["record"]: {"job"} for rule in rules() if "record" in rule}


def problems(expression: str, exported: Exported) -> list[str]:
    """What an expression names that nobody exports.

    Raises:
        ValueError: it is no PromQL.
    """
    selectors: list[promql.VectorSelector] = []
    grouped: set[str] = set()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            selectors.append(node)
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            grouped.update(node.modifier.labels)

    promql.walk(promql.parse(expression.replace("$__rate_interval", "5m")), visit)
    found = [f"no metric {s.name}" for s in selectors if s.name not in exported]
    known = [exported[s.name] | OF_PROMETHEUS for s in selectors if s.name in exported]
    for selector in selectors:
        labels = {matcher.name for matcher in selector.matchers.matchers}
        unknown = labels - exported.get(selector.name, labels) - OF_PROMETHEUS
        found += [f"{selector.name} has no label {label}" for label in unknown]
    found += [f"nothing has the label {label}" for label in grouped - set().union(*known)]
    return found


def expressions_of(dashboard: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Panel titles and expressions."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def promtool_config(folder: Path, program_folder: str = "/etc/prometheus") -> Path:
    """The configuration with its files where they are in the checkout; returns the file."""
    (folder / "metrics_token").touch()
    text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
    text = text.replace(program_folder, str(PROMETHEUS)).replace("/run/secrets", str(folder))
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"
