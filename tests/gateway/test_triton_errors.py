"""Triton's errors as the caller sees them."""

from __future__ import annotations

import logging

import httpx
import pytest

from ovseg.logs import LogIdFilter
from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE, PATH, body, problems


@pytest.mark.parametrize(
    ("message", "loc", "text"),
    [
        ("image: not an image", "body.image", "not an image"),
        ("in ensemble 'open_vocabulary_segmentation', image: cut: x", "body.image", "cut: x"),
        (
            "in ensemble 'open_vocabulary_segmentation', in ensemble 'embed', image: too big",
            "body.image",
            "too big",
        ),
        (
            "[request id: a] in ensemble 'x', [request id: a] point_coords: far\naway",
            "body.prompt",
            "far\naway",
        ),
        ("in ensemble 'x', point_labels: bad", "body.prompt", "bad"),
    ],
)
def test_a_stages_complaint_names_the_field(
    http: httpx.Client, triton: FakeTriton, message: str, loc: str, text: str
) -> None:
    triton.fail("INVALID_ARGUMENT", message)

    assert problems(http.post(PATH, json=body())) == [
        {"type": "value_error", "loc": loc, "msg": text}
    ]


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        ("UNAVAILABLE", "Exceeds maximum queue size", 503),
        ("UNAVAILABLE", "failed to connect to all addresses", 503),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", 504),
        ("INTERNAL", "Stub process is not healthy", 503),
        ("INTERNAL", "no reason given", 500),
        ("NOT_FOUND", "Request for unknown model", 503),
        ("INVALID_ARGUMENT", "unexpected shape for input 'image'", 422),
    ],
)
def test_other_failures_keep_their_cause_in_the_log(
    start_gateway: StartGateway,
    triton: FakeTriton,
    caplog: pytest.LogCaptureFixture,
    status: str,
    message: str,
    expected: int,
) -> None:
    triton.fail(status, message)
    caplog.handler.addFilter(names_requests := LogIdFilter())
    with caplog.at_level(logging.ERROR), start_gateway(recovery_wait_s=0) as http:
        response = http.post(PATH, json=body(logId="mine"))
    caplog.handler.removeFilter(names_requests)

    answer = response.json()
    assert response.status_code == answer["errorCode"] == expected
    assert answer["logId"] == "mine"
    assert message not in answer["errorMsg"]
    assert message in caplog.text
    assert [getattr(record, "logId", None) for record in caplog.records] == ["mine"]
    assert IMAGE not in caplog.text
    assert response.headers.get("retry-after") == ("1" if expected == 503 else None)


def test_a_bug_is_a_clean_500_and_a_traceback_in_the_log(
    http: httpx.Client, triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    triton.failure = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR):
        response = http.post(PATH, json=body(logId="mine"))

    assert response.status_code == 500
    assert response.json() == {
        "logId": "mine",
        "errorCode": 500,
        "errorMsg": "Internal server error",
    }
    assert "secret detail" in caplog.text


def test_triton_gets_the_deadline_of_the_settings(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway(request_timeout_s=7) as http:
        http.post(PATH, json=body())

    assert 6.5 < triton.last.options["client_timeout"] <= 7
