"""No container engine runs here: what docker-compose.yml and Dockerfile name is checked instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from ovseg.server.supervisor import Part
from ovseg.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_runs_a_part_of_the_server(name: str) -> None:
    command, part = SERVICES[name]["command"]
    assert command == "serve"
    assert part in get_args(Part)
    assert 'ENTRYPOINT ["ovseg"]' in DOCKERFILE


def test_every_setting_that_is_named_exists() -> None:
    named = re.findall(r"OVSEG_(\w+)[=:]", DOCKERFILE)
    for service in SERVICES.values():
        named += [variable.removeprefix("OVSEG_") for variable in service["environment"]]
    assert named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_ports_and_addresses_are_the_defaults_of_the_settings() -> None:
    settings = Settings()
    assert SERVICES["gateway"]["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert SERVICES["triton"]["ports"] == [f"127.0.0.1:{settings.grpc_port}:{settings.grpc_port}"]
    assert SERVICES["gateway"]["environment"]["OVSEG_GRPC_URL"] == f"triton:{settings.grpc_port}"
    checks = {name: service["healthcheck"]["test"][-1] for name, service in SERVICES.items()}
    assert f":{settings.triton_http_port}/v2/health/ready" in checks["triton"]
    assert f":{settings.port}/health/ready" in checks["gateway"]


def test_everything_that_is_copied_into_the_image_is_in_the_checkout() -> None:
    sources = [
        source
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert "model_repository" in sources
    for source in sources:
        assert (ROOT / source).exists(), source


def test_containers_stop_later_than_requests_may_drain() -> None:
    for service in SERVICES.values():
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds > Settings().drain_timeout_s
