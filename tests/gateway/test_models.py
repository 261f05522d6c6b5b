"""Which of several served models answers."""

from __future__ import annotations

import json

import httpx
import pytest
from tritonclient.utils import InferenceServerException

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body

ENSEMBLE = "open_vocabulary_segmentation"
POINT = {"prompt": [[1, 2]], "promptType": "point"}


@pytest.fixture
def http(start_gateway: StartGateway) -> httpx.Client:
    """A gateway that has not asked Triton yet."""
    with start_gateway() as client:
        yield client


def test_the_default_model_answers_what_it_can(http: httpx.Client, triton: FakeTriton) -> None:
    triton.served = {"sam_vit_b": "box,point", "another": "box,point"}
    http.post(PATH, json=body()).raise_for_status()
    assert triton.last.model_name == ENSEMBLE


def test_a_model_for_the_prompts_kind_answers_what_the_default_cannot(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"SAM-H_box": "box", "SAM-H_point": "point"}
    http.post(PATH, json=body(**POINT)).raise_for_status()
    assert triton.last.model_name == f"{ENSEMBLE}.SAM-H_point"
    http.post(PATH, json=body()).raise_for_status()
    assert triton.last.model_name == ENSEMBLE


@pytest.mark.parametrize(("name", "suffix"), [("first", ""), ("second", ".second")])
def test_a_request_can_name_its_model(
    http: httpx.Client, triton: FakeTriton, name: str, suffix: str
) -> None:
    triton.served = {"first": "box,point", "second": "box,point"}
    http.post(PATH, json=body(model=name)).raise_for_status()
    assert triton.last.model_name == ENSEMBLE + suffix


def test_a_model_that_is_not_served_is_422_and_says_which_are(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"first": "box,point", "second": "box"}
    answer = http.post(PATH, json=body(model="third"))
    assert answer.status_code == 422
    (problem,) = json.loads(answer.json()["errorMsg"])
    assert problem["loc"] == "body.model"
    assert "first, second" in problem["msg"]


def test_a_model_loaded_a_moment_ago_is_found(http: httpx.Client, triton: FakeTriton) -> None:
    triton.served = {"first": "box,point"}
    http.post(PATH, json=body()).raise_for_status()
    triton.served["second"] = "box,point"
    http.post(PATH, json=body(model="second")).raise_for_status()
    assert triton.last.model_name == f"{ENSEMBLE}.second"


def test_a_named_model_that_takes_no_such_prompts_is_422(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"first": "box,point", "second": "box"}
    answer = http.post(PATH, json=body(model="second", **POINT))
    assert answer.status_code == 422
    assert json.loads(answer.json()["errorMsg"])[0]["loc"] == "body.promptType"


def test_triton_is_asked_now_and_then_and_not_for_every_request(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"first": "box,point"}
    for _ in range(5):
        http.post(PATH, json=body()).raise_for_status()
    assert triton.list_requests == 1


def test_a_model_that_was_unloaded_is_422_and_not_an_error_of_the_service(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"first": "box,point", "second": "box,point"}
    http.post(PATH, json=body(model="second")).raise_for_status()
    del triton.served["second"]
    triton.inference_failure = InferenceServerException(
        "Request for unknown model", status="StatusCode.NOT_FOUND"
    )
    assert http.post(PATH, json=body(model="second")).status_code == 422


def test_a_failing_model_that_is_still_served_is_an_error_of_the_service(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.served = {"first": "box,point", "second": "box,point"}
    triton.inference_failure = InferenceServerException("oh", status="StatusCode.INTERNAL")
    assert http.post(PATH, json=body(model="second")).status_code == 500
