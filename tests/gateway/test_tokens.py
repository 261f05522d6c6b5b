"""With tokens in the settings, only who has one gets past the door."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pydantic
import pytest
from ovseg_client import Client
from ovseg_gateway import create_app
from ovseg_gateway.bearer_tokens import OPEN_PATHS
from starlette.requests import Request
from typer.testing import CliRunner

import ovseg.tokens
from ovseg.cli.main import app as cli
from ovseg.settings import Settings
from ovseg.tokens import name_of_token, new_token, parse_token_hashes, token_hash_entry
from tests.gateway.conftest import StartGateway, served
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE_FILE, PATH, body

ALICE, BOB = new_token(), new_token()
HASHES = f"{token_hash_entry('alice', ALICE)}, {token_hash_entry('bob', BOB)}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(start_gateway: StartGateway) -> Iterator[httpx.Client]:
    with start_gateway(token_hashes=HASHES) as http:
        yield http


@pytest.mark.parametrize("token", [ALICE, BOB], ids=["alice", "bob"])
def test_every_known_token_opens(guarded: httpx.Client, token: str) -> None:
    assert guarded.post(PATH, json=body(), headers=bearer(token)).status_code == 200
    assert guarded.get("/metrics", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="ovseg"'),
        ({"Authorization": ALICE}, 'Bearer realm="ovseg"'),
        ({"Authorization": f"Basic {ALICE}"}, 'Bearer realm="ovseg"'),
        ({"Authorization": "Bearer"}, 'Bearer realm="ovseg", error="invalid_token"'),
        (bearer(ALICE[:-1]), 'Bearer realm="ovseg", error="invalid_token"'),
        (bearer(new_token()), 'Bearer realm="ovseg", error="invalid_token"'),
        # The hash is no key to what it is the hash of.
        (
            bearer(hashlib.sha256(ALICE.encode()).hexdigest()),
            'Bearer realm="ovseg", error="invalid_token"',
        ),
        (bearer("alice"), 'Bearer realm="ovseg", error="invalid_token"'),
        (
            {"Authorization": b"Bearer \xff\xfe"},
            'Bearer realm="ovseg", error="invalid_token"',
        ),
    ],
    ids=["none", "no scheme", "basic", "empty", "cut", "unknown", "hash", "name", "no ASCII"],
)
def test_anything_else_is_a_401_in_the_documented_form(
    guarded: httpx.Client, triton: FakeTriton, headers: Any, challenge: str
) -> None:
    answer = guarded.post(PATH, json=body(), headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == challenge
    assert answer.json().keys() == {"logId", "errorCode", "errorMsg"}
    assert answer.json()["errorCode"] == 401
    assert triton.calls == []


def test_the_scheme_is_read_in_any_case(guarded: httpx.Client) -> None:
    answer = guarded.post(PATH, json=body(), headers={"Authorization": f"bEARER  {ALICE}"})
    assert answer.status_code == 200


def test_health_and_descriptions_are_open_and_all_else_is_closed(guarded: httpx.Client) -> None:
    statuses = {path: guarded.get(path).status_code for path in sorted(OPEN_PATHS)}
    closed = [guarded.get(path).status_code for path in ("/metrics", "/docs/", "/nothing", PATH)]

    assert set(statuses.values()) == {200}, statuses
    assert closed == [401] * 4


def test_it_is_decided_before_the_body_is_read(guarded: httpx.Client) -> None:
    address = (guarded.base_url.host, guarded.base_url.port or 80)
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()
        )
        answer = connection.recv(4096)  # Of the body not a byte has been sent.

    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_caller_who_is_still_sending_gets_the_refusal(guarded: httpx.Client) -> None:
    answer = guarded.post(PATH, content=b" " * 3_000_000)
    assert answer.status_code == 401


def test_the_request_knows_whose_token_it_is(triton: FakeTriton) -> None:
    app = create_app(Settings(token_hashes=HASHES), client=triton)

    @app.get("/whoami")
    async def whoami(request: Request) -> str:
        return str(request.state.context.token_name)

    with served(app) as base_url:
        name = httpx.get(f"{base_url}/whoami", headers=bearer(BOB), trust_env=False).json()
    assert name == "bob"


def test_without_tokens_nobody_needs_one(http: httpx.Client) -> None:
    assert http.post(PATH, json=body()).status_code == 200
    described = http.get("/openapi.json").json()
    assert "securitySchemes" not in described["components"]
    assert "401" not in described["paths"][PATH]["post"]["responses"]


def test_the_api_description_says_where_a_token_is_needed(guarded: httpx.Client) -> None:
    described = guarded.get("/openapi.json").json()

    assert described["components"]["securitySchemes"] == {
        "bearerToken": {"type": "http", "scheme": "bearer"}
    }
    operation = described["paths"][PATH]["post"]
    assert operation["security"] == [{"bearerToken": []}]
    assert "401" in operation["responses"]
    assert described["paths"]["/metrics"]["get"]["security"]
    assert "security" not in described["paths"]["/health/live"]["get"]
    assert "StatusResponse" in described["components"]["schemas"]


def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append(second)
        return first == second

    monkeypatch.setattr(ovseg.tokens.hmac, "compare_digest", compare)
    digests = parse_token_hashes(HASHES)

    assert name_of_token(ALICE, digests) == "alice"
    assert name_of_token("nobody's", digests) is None
    assert compared == [*digests.values()] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALICE, "entry 1 is not name:sha256hex"),
        (f"alice:{ALICE}", "entry 1 is not name:sha256hex"),
        (f"{token_hash_entry('a', ALICE)},b:12", "entry 2 is not name:sha256hex"),
        (f"a b:{'0' * 64}", "entry 1 is not name:sha256hex"),
        (f"a:{'0' * 64},a:{'1' * 64}", "entry 2 has the name of an earlier one"),
    ],
    ids=["a token", "a named token", "short", "bad name", "twice"],
)
def test_a_wrong_setting_is_told_without_quoting_it(text: str, problem: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Settings(token_hashes=text)
    (error,) = refused.value.errors()
    assert error["loc"] == ("token_hashes",)
    assert problem in error["msg"]
    assert ALICE not in error["msg"]
    assert HASHES not in repr(Settings(token_hashes=HASHES))


def test_the_command_prints_a_token_once_and_the_hash_for_the_setting() -> None:
    printed = CliRunner().invoke(cli, ["token", "camera-1"])
    assert printed.exit_code == 0
    token, entry = printed.stdout.splitlines()[:2]
    assert name_of_token(token, parse_token_hashes(entry)) == "camera-1"
    assert printed.stdout.count(token) == 1
    assert CliRunner().invoke(cli, ["token", "camera-1"]).stdout.splitlines()[0] != token

    refused = CliRunner().invoke(cli, ["token", "camera 1"])
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda url, patch: Client(url, token=ALICE), id="argument"),
        pytest.param(
            lambda url, patch: (patch.setenv("OVSEG_TOKEN", ALICE), Client(url))[1],
            id="environment",
        ),
    ],
)
def test_the_client_sends_its_token_and_never_shows_it(
    guarded: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    give: Callable[[str, pytest.MonkeyPatch], Client],
) -> None:
    caplog.set_level(logging.DEBUG)
    with give(str(guarded.base_url), monkeypatch) as client:
        found = client.predict(IMAGE_FILE, boxes=[[1, 2, 3, 4]])
        shown = f"{client!r} {vars(client)!r} {client._transport!r} {vars(client._transport)!r}"
    assert len(found.rles) == 1
    assert ALICE not in shown
    assert ALICE not in caplog.text


def test_the_command_line_takes_a_token_from_the_environment(
    guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    image = tmp_path / "image.jpg"
    image.write_bytes(IMAGE_FILE)
    arguments = ["predict", str(image), "--box=1,2,3,4", f"--url={guarded.base_url}", "--json"]

    refused = CliRunner().invoke(cli, arguments)
    monkeypatch.setenv("OVSEG_TOKEN", ALICE)
    accepted = CliRunner().invoke(cli, arguments)

    assert refused.exit_code == 1
    assert "needs a token" in refused.stderr
    assert accepted.exit_code == 0, accepted.stderr
    assert len(json.loads(accepted.stdout)["masks"]) == 1
    assert ALICE not in accepted.output
    assert ALICE not in CliRunner().invoke(cli, ["predict", "--help"]).output


def test_a_token_for_triton_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        Client("grpc://127.0.0.1:1", token=ALICE)
