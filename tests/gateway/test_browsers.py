"""What browsers are told: who may read answers, and what a page may do."""

from __future__ import annotations

import httpx
import pydantic
import pytest

from ovseg.settings import Settings
from ovseg.tokens import token_hash_entry
from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

ORIGIN = "https://viewer.example.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


def cors_headers(answer: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in answer.headers.items() if name.startswith("access-control-")
    }


def test_by_default_no_page_of_another_origin_may_read_anything(http: httpx.Client) -> None:
    answers = [
        http.post(PATH, json=body(), headers={"Origin": ORIGIN}),
        http.get("/metrics", headers={"Origin": "null"}),
        http.options(PATH, headers=PREFLIGHT),
    ]
    assert [cors_headers(answer) for answer in answers] == [{}, {}, {}]
    assert answers[2].status_code == 405


def test_listed_origins_may_and_others_may_not(start_gateway: StartGateway) -> None:
    with start_gateway(cors_origins=f"https://other.example.org, {ORIGIN}") as http:
        listed = http.post(PATH, json=body(), headers={"Origin": ORIGIN})
        preflight = http.options(PATH, headers=PREFLIGHT)
        strange = http.post(PATH, json=body(), headers={"Origin": f"{ORIGIN}.evil.example"})
        refused = http.options(PATH, headers={**PREFLIGHT, "Origin": "http://viewer.example.org"})

    assert listed.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in strange.headers
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    for answer in (listed, preflight, strange, refused):
        assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_needs_no_token_and_a_refusal_can_be_read(start_gateway: StartGateway) -> None:
    hashes = token_hash_entry("alice", "secret")
    with start_gateway(cors_origins=ORIGIN, token_hashes=hashes) as http:
        preflight = http.options(PATH, headers=PREFLIGHT)
        refused = http.post(PATH, json=body(), headers={"Origin": ORIGIN})

    assert preflight.status_code == 200
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origins", ["example.org", "https://a.org/path", "https://*.a.org"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="is no origin"):
        Settings(cors_origins=origins)


def test_every_answer_has_the_security_headers(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway(token_hashes=token_hash_entry("alice", "secret")) as http:
        answers = [http.get(path) for path in ("/", "/docs", "/health", "/nothing", "/metrics")]
        triton.failure = RuntimeError("a bug")
        answers.append(
            http.post(PATH, json=body(), headers={"Authorization": "Bearer secret"}),
        )

    assert {answer.status_code for answer in answers} == {200, 401, 500}
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
