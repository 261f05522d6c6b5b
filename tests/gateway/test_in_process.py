"""The gateway without HTTP, as the Triton model `open-vocabulary-segmentation` runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from ovseg_gateway.in_process import InProcessGateway

from ovseg.settings import Settings
from ovseg.tokens import new_token, token_hash_entry
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

BODIES: dict[str, Any] = {
    "boxes": body(logId="a", prompt=[[1, 2, 3, 4], [5, 6, 7, 8]], visualize=True),
    "point": body(logId="b", promptType="point", prompt=[[1, 2]]),
    "wrong row": body(logId="c", prompt=[[1, 2, 3]]),
    "no base64": body(logId="d", image="!"),
    "nothing": {"logId": "e"},
}


@pytest.fixture
def gateway(triton: FakeTriton) -> Iterator[InProcessGateway]:
    running = InProcessGateway(
        # What is about HTTP callers does not count.
        Settings(token_hashes=token_hash_entry("camera", new_token()), rate_limit="1/hour"),
        client=triton,
    )
    yield running
    running.close()


@pytest.mark.parametrize("name", BODIES)
def test_it_answers_what_rest_answers(
    name: str, gateway: InProcessGateway, http: httpx.Client
) -> None:
    text = json.dumps(BODIES[name])
    over_rest = http.post(PATH, content=text, headers={"Content-Type": "application/json"})
    expected = over_rest.json()
    if over_rest.status_code == 200:
        del expected["result"]["imageId"]  # It means nothing to the peer's clients.

    answer = json.loads(gateway.answer(text.encode()))

    assert answer == expected
    assert answer["errorCode"] == (0 if over_rest.status_code == 200 else over_rest.status_code)


def test_what_is_no_json_is_an_answer_too(gateway: InProcessGateway) -> None:
    for text, code in ((b"{", 422), (b"", 422), (b'{"a": "\xff"}', 400), (b"[" * 100_000, 400)):
        assert json.loads(gateway.answer(text))["errorCode"] == code


def test_the_body_is_bounded(triton: FakeTriton) -> None:
    gateway = InProcessGateway(Settings(max_body_bytes=1000), client=triton)
    try:
        answer = json.loads(gateway.answer(json.dumps(body(filler="x" * 1000)).encode()))
    finally:
        gateway.close()
    assert answer["errorCode"] == 413


def test_threads_ask_it_at_the_same_time(gateway: InProcessGateway, triton: FakeTriton) -> None:
    triton.delay_s = 0.01
    texts = [json.dumps(body(logId=f"n{i}", prompt=[[i, 2, 3, 4]])).encode() for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = [json.loads(answer) for answer in pool.map(gateway.answer, texts)]

    assert [answer["logId"] for answer in answers] == [f"n{i}" for i in range(8)]
    prompts = [answer["result"]["maskInfos"][0]["prompt"][0] for answer in answers]
    assert prompts == list(range(8))


def test_a_failing_triton_is_told_apart_from_a_wrong_request(triton: FakeTriton) -> None:
    triton.fail("UNAVAILABLE", "Exceeds maximum queue size")
    gateway = InProcessGateway(Settings(recovery_wait_s=0), client=triton)
    try:
        answer = json.loads(gateway.answer(json.dumps(body(logId="x")).encode()))
    finally:
        gateway.close()
    assert (answer["errorCode"], answer["logId"]) == (503, "x")
    assert answer.keys() == {"logId", "errorCode", "errorMsg"}
