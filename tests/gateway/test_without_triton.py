"""The gateway's own connection to Triton, with nobody at the other end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from ovseg_gateway import create_app

from ovseg.settings import Settings
from tests.gateway.conftest import served
from tests.gateway.requests import PATH, body


@pytest.fixture
def lonely() -> Iterator[httpx.Client]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        app = create_app(Settings(grpc_port=unused.getsockname()[1], recovery_wait_s=0.5))
    with served(app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as http:
        yield http


def test_requests_are_told_to_come_back(lonely: httpx.Client) -> None:
    response = lonely.post(PATH, json=body(logId="mine"))

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json() == {
        "logId": "mine",
        "errorCode": 503,
        "errorMsg": "The service is busy or restarting; try again",
    }


def test_the_gateway_is_alive_but_not_ready(lonely: httpx.Client) -> None:
    assert lonely.get("/health/live").status_code == 200
    assert lonely.get("/health/ready").status_code == 503


def test_wrong_requests_are_still_explained(lonely: httpx.Client) -> None:
    assert lonely.post(PATH, json=body(promptType="text")).status_code == 422
