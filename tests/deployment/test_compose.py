"""No container engine runs here: what docker-compose.yml names is checked instead.

`test_as_a_container.py` runs its commands.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from compose_spec import PyCompose

from ovseg.server.supervisor import Part
from ovseg.settings import Settings
from tests.deployment.compose import COMPOSE_FILE as FILE
from tests.deployment.compose import (
    GPU_FILE,
    PUBLIC_FILE,
    ROOT,
    MissingVariableError,
    load,
    variables_of,
)

PUBLIC_VARIABLES = {
    "OVSEG_TOKEN_HASHES_FILE": "/etc/ovseg/token_hashes",
    "METRICS_TOKEN_FILE": "/etc/ovseg/metrics_token",
    "TLS_CERT_FILE": "/etc/ovseg/cert.pem",
    "TLS_KEY_FILE": "/etc/ovseg/key.pem",
}
COMPOSE = load()
PUBLIC = load(FILE, PUBLIC_FILE, variables=PUBLIC_VARIABLES)
GPU = load(FILE, GPU_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("triton", "gateway")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def settings_of(name: str, services: dict[str, Any] = SERVICES) -> Settings:
    values = services[name]["environment"]
    fields = {key.removeprefix("OVSEG_").lower(): value for key, value in values.items()}
    return Settings(**fields)


@pytest.mark.parametrize("document", [COMPOSE, PUBLIC, GPU], ids=["compose", "public", "gpu"])
def test_it_follows_the_compose_specification(document: dict[str, Any]) -> None:
    parsed = PyCompose.from_yaml(yaml.safe_dump(document))
    parsed.validate()  # Every volume and secret that is used is declared.
    assert set(parsed.service_names()) == {"triton", "gateway", "prometheus", "grafana"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"shm": "1gb"}, "`shm`"),
        ({"mem_limit": "1x"}, "unknown unit"),
        ({"secrets": ["passwords"]}, "`passwords` .* is not defined"),
    ],
)
def test_the_check_finds_mistakes(change: dict[str, Any], complaint: str) -> None:
    document = load()
    document["services"]["gateway"] |= change
    with pytest.raises(ValueError, match=complaint):
        PyCompose.from_yaml(yaml.safe_dump(document)).validate()


def test_without_a_profile_it_is_the_service_alone() -> None:
    assert {name for name in SERVICES if "profiles" not in SERVICES[name]} == set(OURS)
    assert {tuple(SERVICES[name]["profiles"]) for name in SERVICES if name not in OURS} == {
        ("monitoring",)
    }


@pytest.mark.parametrize("name", OURS)
def test_each_of_our_services_runs_a_part_of_the_server(name: str) -> None:
    command, part = SERVICES[name]["command"]
    assert command == "serve"
    assert part in get_args(Part)
    assert part == name
    assert 'ENTRYPOINT ["ovseg"]' in DOCKERFILE


def test_every_setting_exists_and_has_a_valid_value() -> None:
    named = re.findall(r"OVSEG_(\w+)[=:]", DOCKERFILE)
    for name in OURS:
        named += [key.removeprefix("OVSEG_") for key in PUBLIC["services"][name]["environment"]]
        settings_of(name, PUBLIC["services"])
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_variables_that_have_the_name_of_a_setting_set_it() -> None:
    named = {name for name in variables_of() if name.startswith("OVSEG_")}
    assert "OVSEG_MODEL" in named
    files = {name.removesuffix("_FILE") for name in named}
    assert {name.removeprefix("OVSEG_").lower() for name in files} <= Settings.model_fields.keys()


def test_ports_and_addresses_are_those_of_the_settings() -> None:
    settings = Settings()
    assert SERVICES["gateway"]["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert SERVICES["triton"]["ports"] == [f"127.0.0.1:{settings.grpc_port}:{settings.grpc_port}"]
    assert settings_of("gateway").triton_grpc_address == f"triton:{settings.grpc_port}"
    assert f"{settings.port}" in PUBLIC["services"]["gateway"]["ports"][-1].split(":")


def test_nothing_is_open_beyond_loopback_unless_asked_for() -> None:
    for name, service in SERVICES.items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), name
    for name in set(SERVICES) - {"gateway"}:
        assert PUBLIC["services"][name]["ports"] == SERVICES[name]["ports"]


@pytest.mark.parametrize("missing", PUBLIC_VARIABLES)
def test_the_public_gateway_does_not_start_without_tokens_and_tls(missing: str) -> None:
    variables = {name: value for name, value in PUBLIC_VARIABLES.items() if name != missing}
    with pytest.raises(MissingVariableError, match=missing):
        load(FILE, PUBLIC_FILE, variables=variables)


def test_the_public_gateway_has_tokens_and_tls() -> None:
    gateway = PUBLIC["services"]["gateway"]
    settings = settings_of("gateway", PUBLIC["services"])
    assert {"ovseg_token_hashes", settings.tls_cert.name, settings.tls_key.name} == set(  # type: ignore[union-attr]
        gateway["secrets"]
    )
    assert settings.tls_cert and settings.tls_cert.parent == Settings().secrets_dir
    assert "https://" in gateway["healthcheck"]["test"][-1]


def test_secrets_are_files_that_the_settings_read() -> None:
    assert str(Settings.model_fields["secrets_dir"].default) == "/run/secrets"
    assert "token_hashes" in Settings.model_fields
    assert SERVICES["gateway"]["secrets"] == ["ovseg_token_hashes"]
    for secret in COMPOSE["secrets"].values():
        assert (ROOT / secret["file"]).read_bytes() == b""
    for name in OURS:
        assert not [key for key in SERVICES[name]["environment"] if "TOKEN" in key]


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["restart"] == "unless-stopped"
    assert {"cpus", "mem_limit", "pids_limit", "healthcheck"} <= service.keys()
    assert not service.get("privileged")
    assert "docker.sock" not in str(service)


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_an_exact_tag(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_what_the_image_and_the_compose_file_call_the_user_and_the_models_is_one_thing() -> None:
    assert "USER 10001:10001" in DOCKERFILE and "--uid 10001 " in DOCKERFILE
    assert "VOLUME /models" in DOCKERFILE and "OVSEG_MODEL_DIR=/models" in DOCKERFILE
    assert SERVICES["triton"]["volumes"] == ["models:/models"]
    assert all(SERVICES[name]["user"] == "10001:10001" for name in OURS)


@pytest.mark.parametrize("name", ("prometheus", "grafana"))
def test_what_is_mounted_is_in_the_checkout(name: str) -> None:
    service = PUBLIC["services"][name]
    mounts = {}
    for mount in service["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mount.endswith(":ro"), mount
            mounts[target] = ROOT / source
        else:
            assert source in PUBLIC["volumes"]
    texts = [*service.get("command", []), *map(str, service.get("environment", {}).values())]
    named = re.findall(r"/etc/\w+/[\w./-]+", " ".join(texts))
    assert named
    for path in map(Path, named):
        folder = next(target for target in mounts if path.is_relative_to(target))
        assert (mounts[folder] / path.relative_to(folder)).is_file(), path


def test_with_a_gpu_triton_alone_has_one_and_an_image_with_tensorrt() -> None:
    services = GPU["services"]
    (device,) = services["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert f"FROM cpu AS {services['triton']['build']['target']}\n" in DOCKERFILE
    # Two images of one name would take turns.
    assert services["triton"]["image"] != services["gateway"]["image"]
    assert settings_of("triton", services).engine == "auto"
    changed = {"build", "image", "deploy", "environment"}
    for name, service in services.items():
        kept = service.keys() - (changed if name == "triton" else set())
        assert {key: service[key] for key in kept} == {key: SERVICES[name][key] for key in kept}


def test_stopping_loses_no_request() -> None:
    gateway = settings_of("gateway")
    assert gateway.drain_timeout_s > gateway.request_timeout_s
    longest = gateway.drain_delay_s + gateway.drain_timeout_s
    assert seconds(SERVICES["gateway"]["stop_grace_period"]) > longest + 5
    assert seconds(SERVICES["triton"]["stop_grace_period"]) > 15 + 10  # triton_process.py


@pytest.mark.parametrize("services", [SERVICES, PUBLIC["services"]], ids=["compose", "public"])
def test_health_is_asked_where_it_is_answered_truthfully(services: dict[str, Any]) -> None:
    settings = Settings()
    checks = {}
    for name in OURS:
        interpreter, option, program = services[name]["healthcheck"]["test"][1:]
        assert (interpreter, option) == ("python", "-c")
        ast.parse(program)
        checks[name] = program
    assert f":{settings.triton_http_port}/v2/health/ready" in checks["triton"]
    assert f":{settings.port}/health/ready" in checks["gateway"]
    for service in services.values():
        assert seconds(service["healthcheck"]["interval"]) <= 10
