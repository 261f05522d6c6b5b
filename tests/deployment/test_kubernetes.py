"""The manifests, as files and as kustomize renders them, against schemas and against the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ovseg_gateway.bearer_tokens import OPEN_PATHS

from ovseg.checkpoints.published import PUBLISHED_MODELS as PUBLISHED
from ovseg.settings import Settings
from tests.deployment.compose import ROOT
from tests.deployment.monitoring import (
    exported_by_gateway,
    problems,
    recorded,
    rules,
)

BASE = ROOT / "deploy" / "kubernetes" / "base"
INGRESS = ROOT / "deploy" / "kubernetes" / "ingress"
OWN_MODEL = ROOT / "deploy" / "kubernetes" / "own-model"
SPLIT = ROOT / "deploy" / "kubernetes" / "split"
MONITORING = ROOT / "deploy" / "monitoring"
VERSIONS = ("1.31", "1.37")
OPERATORS = ("monitoring.coreos.com/v1",)
"""Kinds that Kubernetes itself does not have."""

Manifest = dict[str, Any]


def read(*files: Path) -> list[Manifest]:
    documents = [yaml.safe_load_all(file.read_text("utf-8")) for file in files]
    return [document for each in documents for document in each]


def rendered(folder: Path) -> list[Manifest]:
    made = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


@cache
def resources(folder: Path) -> list[Manifest]:
    names = read(folder / "kustomization.yaml")[0]["resources"]
    return read(*(folder / name for name in names if name.endswith(".yaml")))


def of_kind(kind: str) -> Manifest:
    (found,) = (m for m in resources(BASE) + resources(INGRESS) if m["kind"] == kind)
    return found


POD: Manifest = of_kind("Deployment")["spec"]["template"]["spec"]
CONTAINER: Manifest = POD["containers"][0]
SETTINGS = Settings(
    **{
        key.removeprefix("OVSEG_").lower(): value
        for key, value in of_kind("ConfigMap")["data"].items()
    }
)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="there is no kubectl on this machine to render with"
)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_follows_the_schemas(version: str) -> None:
    found = resources(BASE) + resources(INGRESS)
    assert len(found) == 8
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_check_finds_mistakes() -> None:
    for mistake in ({"replica": 2}, {"strategy": {"rollingUpdate": {"maxUnavailable": []}}}):
        manifest = deepcopy(of_kind("Deployment"))
        manifest["spec"] |= mistake
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


@needs_kubectl
def test_a_replica_copies_the_model_that_is_imported_and_serves_it() -> None:
    made = {manifest["kind"]: manifest for manifest in rendered(OWN_MODEL)}
    (importing,) = made["Job"]["spec"]["template"]["spec"]["containers"]
    command, model = importing["args"]
    assert command == "fetch" and model in PUBLISHED
    assert made["ConfigMap"]["data"]["OVSEG_MODEL"] == model
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (copying,) = pod["initContainers"]
    (target,) = (e["value"] for e in importing["env"] if e["name"] == "OVSEG_MODEL_DIR")
    assert copying["command"] == ["cp", "--archive", f"{target}/{model}", "/models/"]
    claim = made["PersistentVolumeClaim"]["metadata"]["name"]
    assert {"claimName": claim, "readOnly": True} in [
        volume.get("persistentVolumeClaim") for volume in pod["volumes"]
    ]


@needs_kubectl
@pytest.mark.parametrize(
    "folder", [BASE, INGRESS, OWN_MODEL, SPLIT, MONITORING], ids=lambda path: path.name
)
def test_what_kustomize_renders_follows_the_schemas(folder: Path) -> None:
    for manifest in rendered(folder):
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "ovseg"
        if manifest["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = manifest["spec"]["template"]["spec"]
            images = {c["image"] for c in pod["containers"] + pod.get("initContainers", [])}
            assert images == {"registry.example.org/ovseg:0.1.0"}


def test_every_file_is_rendered() -> None:
    for folder in (BASE, INGRESS, MONITORING):
        named = set(read(folder / "kustomization.yaml")[0]["resources"])
        files = {
            str(file.relative_to(folder))
            for file in folder.glob("**/*.yaml")
            if file.name not in ("kustomization.yaml", "prometheus-adapter.yaml")
            and "provisioning" not in file.parts
        }
        assert files <= named


def test_every_setting_exists() -> None:
    names = of_kind("ConfigMap")["data"]
    assert {n.removeprefix("OVSEG_").lower() for n in names} <= Settings.model_fields.keys()
    assert CONTAINER["args"] == ["serve"]


def test_the_service_does_not_become_a_setting() -> None:
    # A service `ovseg` would give every pod the variable OVSEG_PORT=tcp://10.0.0.1:80.
    assert of_kind("Service")["metadata"]["name"] == "ovseg"
    assert POD["enableServiceLinks"] is False


def test_selectors_select_the_pods() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Service")["spec"]["selector"] == labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == labels
    assert of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": of_kind("Deployment")["metadata"]["name"],
    }


def test_ports_lead_from_the_ingress_to_the_gateway() -> None:
    (port,) = CONTAINER["ports"]
    assert port == {"name": "http", "containerPort": SETTINGS.port}
    (service_port,) = of_kind("Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    (path,) = of_kind("Ingress")["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {
        "name": of_kind("Service")["metadata"]["name"],
        "port": {"name": service_port["name"]},
    }
    (rule,) = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert [allowed["port"] for allowed in rule["ports"]] == [port["name"]]


def test_triton_is_reached_by_nobody_outside_the_pod() -> None:
    assert SETTINGS.host == "0.0.0.0"
    assert SETTINGS.triton_host == "127.0.0.1"


def test_probes_are_truthful_and_need_no_token() -> None:
    probes = {name: CONTAINER[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    ready, live = "/health/ready", "/health/live"
    assert paths == {"startup": ready, "readiness": ready, "liveness": live}
    assert set(paths.values()) <= OPEN_PATHS
    # A probe may run an inference for 10 s (readiness.py).
    assert probes["readiness"]["timeoutSeconds"] > 10
    startup = probes["startup"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > 2 * SETTINGS.start_timeout_s


def test_a_pod_ends_later_than_its_last_request() -> None:
    readiness = CONTAINER["readinessProbe"]
    noticed = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert SETTINGS.drain_delay_s > noticed
    assert SETTINGS.drain_timeout_s > SETTINGS.request_timeout_s
    ended = SETTINGS.drain_delay_s + SETTINGS.drain_timeout_s + 5 + 15  # then Triton stops
    assert POD["terminationGracePeriodSeconds"] > ended
    annotations = of_kind("Ingress")["metadata"]["annotations"]
    timeout = annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]
    assert int(timeout) > SETTINGS.request_timeout_s
    size = annotations["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(size.removesuffix("m")) * 1024 * 1024 == SETTINGS.max_body_bytes


def test_the_pod_is_restricted_and_can_write_where_it_must() -> None:
    assert POD["securityContext"]["runAsNonRoot"] and not POD["automountServiceAccountToken"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"--uid {POD['securityContext']['runAsUser']} " in dockerfile
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert {"/models", "/dev/shm", "/tmp", "/home/ovseg"} <= mounts.keys()
    assert "OVSEG_MODEL_DIR=/models" in dockerfile
    assert str(SETTINGS.secrets_dir) in mounts
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert volumes == {mount["name"] for mount in CONTAINER["volumeMounts"]}


def test_the_autoscaler_asks_for_what_prometheus_is_told_to_answer() -> None:
    adapter = read(MONITORING / "kubernetes" / "prometheus-adapter.yaml")[0]["rules"]
    pods, external = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    (custom,), (of_service,) = adapter["custom"], adapter["external"]
    assert custom["seriesQuery"].startswith(pods["pods"]["metric"]["name"] + "{")
    assert of_service["name"]["as"] == external["external"]["metric"]["name"]
    exported = {**exported_by_gateway(), **recorded()}
    for rule in (custom, of_service):
        series = rule["seriesQuery"].split("{")[0]
        query = rule["metricsQuery"].replace("<<.Series>>", series)
        query = query.replace("<<.LabelMatchers>>", "").replace("<<.GroupBy>>", "job")
        assert problems(query, exported) == []
    # Half-busy replicas are no reason for more, wholly busy ones are.
    running = min(max(int(CONTAINER["resources"]["limits"]["cpu"]) // 2, 1), 4)
    target = int(pods["pods"]["target"]["averageValue"].removesuffix("m")) / 1000
    assert 0.5 * running < target < running


def test_the_rules_for_the_operator_are_those_with_the_tests() -> None:
    (rule,) = read(MONITORING / "kubernetes" / "prometheus-rule.yaml")
    monitor, of_triton = read(MONITORING / "kubernetes" / "service-monitor.yaml")
    assert [r for group in rule["spec"]["groups"] for r in group["rules"]] == rules()
    service = of_kind("Service")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert re.match("ovseg", service["metadata"]["name"])  # Its name is the job's: `up{job=~…}`.
    triton = read(SPLIT / "triton.yaml")[0]
    assert of_triton["spec"]["selector"]["matchLabels"] == triton["metadata"]["labels"]
    assert {"name": "metrics", "port": 8002, "targetPort": "metrics"} in triton["spec"]["ports"]


@needs_kubectl
def test_apart_the_gateways_reach_triton_and_nobody_else_does() -> None:
    made = {(m["kind"], m["metadata"]["name"]): m for m in rendered(SPLIT)}
    gateway = made["Deployment", "ovseg"]["spec"]["template"]["spec"]["containers"][0]
    stateful = made["StatefulSet", "ovseg-triton"]["spec"]
    pod = stateful["template"]["spec"]
    (triton,) = pod["containers"]
    assert (gateway["args"], triton["args"]) == (["serve", "gateway"], ["serve", "triton"])
    values = made["ConfigMap", "ovseg-settings"]["data"]
    settings = Settings(**{k.removeprefix("OVSEG_").lower(): v for k, v in values.items()})
    service = made["Service", "ovseg-triton"]
    assert settings.triton_grpc_address == f"{service['metadata']['name']}:{settings.grpc_port}"
    assert service["spec"]["selector"] == stateful["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in triton["ports"]}
    assert ports == {
        "grpc": settings.grpc_port,
        "triton-http": settings.triton_http_port,
        "metrics": settings.metrics_port,
    }
    assert {"name": "OVSEG_TRITON_HOST", "value": "0.0.0.0"} in triton["env"]
    # The policy for all pods opens their port `http`: Triton has none of that name.
    allowed = made["NetworkPolicy", "ovseg-triton"]["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in allowed] == ["grpc", "metrics"]
    assert allowed[0]["from"][0]["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "ovseg"
    }
    assert pod["terminationGracePeriodSeconds"] > 15 + 15 + 10  # preStop, triton_process.py
    (metric,) = made["HorizontalPodAutoscaler", "ovseg"]["spec"]["metrics"]
    assert metric["resource"]["name"] == "cpu"
