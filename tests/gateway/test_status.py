"""Health checks, metrics, and pages."""

from __future__ import annotations

import json
import threading
import time

import httpx
from ovseg_gateway import create_app
from ovseg_gateway.app import start_draining

from ovseg.settings import Settings
from tests.gateway.conftest import StartGateway, served
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body


def test_liveness_says_nothing_about_triton(http: httpx.Client, triton: FakeTriton) -> None:
    triton.ready = False

    assert http.get("/health").json()["errorMsg"] == "Healthy"
    assert http.get("/health/live").status_code == 200


def test_readiness_is_shown_by_an_inference(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway() as http:
        first, second = http.get("/health/ready"), http.get("/health/ready")

    assert (first.status_code, second.status_code) == (200, 200)
    assert len(triton.calls) == 1  # the second answer rests on the first one's proof
    assert len(triton.last.tensors["point_coords"]) == 1


def test_a_callers_success_is_proof_of_readiness(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway() as http:
        http.post(PATH, json=body()).raise_for_status()
        ready = http.get("/health/ready")

    assert ready.status_code == 200
    assert len(triton.calls) == 1


def test_readiness_is_false_until_triton_says_that_it_is_ready(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.ready = False
    with start_gateway() as http:
        before = http.get("/health/ready")
        triton.ready = True
        after = http.get("/health/ready")

    assert (before.status_code, after.status_code) == (503, 200)
    assert before.headers["retry-after"] == "1"
    assert before.json()["errorCode"] == 503


def test_readiness_is_false_when_triton_only_claims_to_be_ready(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.fail("INTERNAL", "Stub process is not healthy")
    with start_gateway() as http:
        response = http.get("/health/ready")

    assert response.status_code == 503


def test_a_model_without_box_prompts_is_ready_too(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.fail("INVALID_ARGUMENT", "in ensemble 'x', point_labels: this model takes points")
    with start_gateway() as http:
        response = http.get("/health/ready")

    assert response.status_code == 200


def test_draining_turns_readiness_off_and_serves_on(triton: FakeTriton) -> None:
    app = create_app(Settings(), client=triton)
    with served(app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as http:
        before = http.get("/health/ready")
        start_draining(app)
        after = http.get("/health/ready")
        live, request = http.get("/health/live"), http.post(PATH, json=body())

    assert (before.status_code, after.status_code) == (200, 503)
    assert (live.status_code, request.status_code) == (200, 200)


def test_metrics_count_requests_by_route_and_status(start_gateway: StartGateway) -> None:
    with start_gateway() as http:
        http.post(PATH, json=body())
        http.post(PATH, json=body(prompt=[[1]]))
        http.get("/some/strangers/path")
        text = http.get("/metrics").text

    assert f'ovseg_gateway_requests_total{{route="{PATH}",status="200"}} 1.0' in text
    assert f'ovseg_gateway_requests_total{{route="{PATH}",status="422"}} 1.0' in text
    assert 'ovseg_gateway_requests_total{route="other",status="404"} 1.0' in text
    assert 'ovseg_gateway_part_seconds_count{part="triton"} 1.0' in text
    assert "strangers" not in text


def test_metrics_show_requests_under_way(start_gateway: StartGateway, triton: FakeTriton) -> None:
    triton.delay_s = 0.5
    with start_gateway() as http:
        request = threading.Thread(target=http.post, args=(PATH,), kwargs={"json": body()})
        request.start()
        while not triton.calls:
            time.sleep(0.005)
        text = http.get("/metrics").text
        request.join()

    assert "ovseg_gateway_in_flight_requests 2.0" in text  # that one, and /metrics itself


def test_the_api_description_documents_every_answer(http: httpx.Client) -> None:
    operation = http.get("/openapi.json").json()["paths"][PATH]["post"]

    documented = {"200", "400", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert operation["responses"].keys() == documented
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    alternatives = [
        {required for way in part["anyOf"] for required in way["required"]}
        for part in schema["allOf"]
    ]
    assert alternatives == [{"image", "imageId"}, {"prompt", "promptType", "prompts"}]
    assert schema.keys() >= {"properties", "title"} and "$ref" not in json.dumps(schema)
