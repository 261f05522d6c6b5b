"""Replays what the peer (PaddleX 3.7.2's server) was asked, and compares our answers with its own.

The service under test serves the very models that the peer served, over real HTTP.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pycocotools.mask
import pytest
from PIL import Image

from tests.contract.recorded import Case, base_image, recorded_cases

SEGMENTATION_PATH = "/open-vocabulary-segmentation"

# What the peer does not have.
ADDED_RESULT_FIELDS = {"imageId"}
ADDED_ENDPOINTS = {
    "root_path": "a page for people at /",
    "metrics": "Prometheus metrics",
}
# Where the peer fails (500) on what its documentation promises: how many masks we give.
DOCUMENTED_BUT_BROKEN = {
    "point1_visualize_absent": 1,  # a point with the default picture
    "point2": 2,  # a second point
}


def cases(*, select: Any) -> Any:
    chosen = [case for case in recorded_cases() if select(case)]
    return pytest.mark.parametrize("case", chosen, ids=[case.name for case in chosen])


def is_segmentation(case: Case) -> bool:
    return case.status == 200 and case.path == SEGMENTATION_PATH


def is_refusal(case: Case) -> bool:
    return 400 <= case.status < 500 and case.name not in ADDED_ENDPOINTS


def is_callers_mistake_unexplained(case: Case) -> bool:
    return case.status == 500 and case.name not in DOCUMENTED_BUT_BROKEN


@pytest.fixture(scope="module")
def http(standin_service: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=standin_service.base_url, timeout=60, trust_env=False) as client:
        yield client


def replay(http: httpx.Client, case: Case) -> httpx.Response:
    return http.request(case.method, case.path, headers=case.headers, content=case.body)


def caller_log_id(case: Case) -> str | None:
    try:
        log_id = json.loads(case.body)["logId"]
    except (ValueError, KeyError, TypeError):
        return None
    return log_id if isinstance(log_id, str) else None


def assert_log_id(case: Case, answer: dict[str, Any]) -> None:
    assert isinstance(answer["logId"], str) and answer["logId"]
    assert caller_log_id(case) in (None, answer["logId"])


def open_picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_every_recorded_case_is_tested_somewhere() -> None:
    tested_alone = {"trailing_slash", "health", "docs", "redoc", "openapi"}
    for case in recorded_cases():
        assert (
            is_segmentation(case)
            or is_refusal(case)
            or is_callers_mistake_unexplained(case)
            or case.name in tested_alone | ADDED_ENDPOINTS.keys() | DOCUMENTED_BUT_BROKEN.keys()
        ), case.name


@cases(select=lambda case: is_segmentation(case) and case.answer_is_whole)
def test_masks_equal_the_peers_byte_for_byte(http: httpx.Client, case: Case) -> None:
    response = replay(http, case)

    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    ours, peers = response.json(), case.answer_json
    assert_log_id(case, ours)
    assert (ours["errorCode"], ours["errorMsg"]) == (0, "Success")
    assert ours.keys() == peers.keys()
    assert ours["result"].keys() - ADDED_RESULT_FIELDS == peers["result"].keys()
    for our_mask, peer_mask in zip(ours["result"]["masks"], peers["result"]["masks"], strict=True):
        assert {name: our_mask[name] for name in peer_mask} == peer_mask
        assert our_mask["counts"] == peer_mask["rleResult"]
    for our_info, peer_info in zip(
        ours["result"]["maskInfos"], peers["result"]["maskInfos"], strict=True
    ):
        assert {name: our_info[name] for name in peer_info} == peer_info


@cases(select=lambda case: is_segmentation(case) and not case.answer_is_whole)
def test_long_answers_equal_the_peers_as_far_as_recorded(http: httpx.Client, case: Case) -> None:
    ours = replay(http, case).json()

    in_the_peers_form = {
        **ours,
        "logId": json.loads(case.answer[len('{"logId":') :].partition(",")[0]),
        "result": {
            "masks": [
                {"rleResult": mask["rleResult"], "size": mask["size"]}
                for mask in ours["result"]["masks"]
            ],
            "maskInfos": [
                {"label": info["label"], "prompt": info["prompt"]}
                for info in ours["result"]["maskInfos"]
            ],
        },
    }
    text = json.dumps(in_the_peers_form, separators=(",", ":"))
    assert len(text) == case.answer_bytes
    assert text.startswith(case.answer.rpartition("...<")[0])


@cases(select=is_segmentation)
def test_masks_decode_to_the_areas_that_were_recorded(http: httpx.Client, case: Case) -> None:
    masks = replay(http, case).json()["result"]["masks"]

    # As the documentation tells callers to decode: size and counts of the answer, nothing else.
    areas = [
        int(pycocotools.mask.decode({"size": mask["size"], "counts": mask["counts"]}).sum())
        for mask in masks
    ]
    assert areas == case.derived["areas"]


@cases(select=lambda case: "result_image" in case.derived)
def test_the_picture_is_a_jpeg_of_the_images_size(http: httpx.Client, case: Case) -> None:
    picture = open_picture(replay(http, case).json()["result"]["image"])

    recorded = case.derived["result_image"]
    assert (picture.format, list(picture.size), picture.mode) == (
        recorded["format"],
        recorded["size"],
        recorded["mode"],
    )


@cases(select=is_refusal)
def test_refusals_say_what_the_peer_says(http: httpx.Client, case: Case) -> None:
    response = replay(http, case)

    assert response.status_code == case.status, response.text
    assert response.headers["content-type"] == "application/json"
    if case.method == "HEAD":
        assert response.content == b""
        return
    ours, peers = response.json(), case.answer_json
    assert_log_id(case, ours)
    assert ours.keys() == peers.keys()
    assert (ours["errorCode"], ours["errorMsg"]) == (peers["errorCode"], peers["errorMsg"])


@cases(select=is_callers_mistake_unexplained)
def test_a_callers_mistake_is_a_422_that_names_the_field_where_the_peer_fails(
    http: httpx.Client, case: Case
) -> None:
    response = replay(http, case)

    assert response.status_code == 422, response.text
    answer = response.json()
    assert answer.keys() == {"logId", "errorCode", "errorMsg"}
    assert answer["errorCode"] == 422
    assert_log_id(case, answer)
    problems = json.loads(answer["errorMsg"])
    assert problems
    for problem in problems:
        assert problem.keys() == {"type", "loc", "msg"}
        assert problem["loc"].startswith(("body.prompt", "body.promptType", "body.image")) or (
            problem["loc"] == "body.logId"
        )


@cases(select=lambda case: case.name in DOCUMENTED_BUT_BROKEN)
def test_documented_requests_work_where_the_peer_fails(http: httpx.Client, case: Case) -> None:
    response = replay(http, case)

    assert response.status_code == 200, response.text
    result = response.json()["result"]
    sent = json.loads(case.body)
    assert len(result["masks"]) == DOCUMENTED_BUT_BROKEN[case.name]
    assert [info["prompt"] for info in result["maskInfos"]] == sent["prompt"]
    assert {info["label"] for info in result["maskInfos"]} == {"point_prompt"}
    assert ("image" in result) is sent.get("visualize", True)


def test_a_second_point_gives_the_mask_that_it_gives_alone(http: httpx.Client) -> None:
    image = base64.b64encode(base_image()).decode()
    rows = [[550, 350], [200, 200]]

    def masks(prompt: list[list[int]]) -> Any:
        body = {"image": image, "prompt": prompt, "promptType": "point", "visualize": False}
        return http.post(SEGMENTATION_PATH, json=body).json()["result"]["masks"]

    together, first, second = masks(rows), masks(rows[:1]), masks(rows[1:])

    assert together == first + second


def test_a_trailing_slash_redirects(http: httpx.Client) -> None:
    (case,) = (case for case in recorded_cases() if case.name == "trailing_slash")
    response = replay(http, case)

    assert (response.status_code, response.content) == (307, b"")
    assert response.headers["location"] == str(http.base_url.join(SEGMENTATION_PATH))


def test_health_answers_in_the_peers_words(http: httpx.Client) -> None:
    (case,) = (case for case in recorded_cases() if case.name == "health")
    ours, peers = replay(http, case).json(), case.answer_json

    assert ours | {"logId": ""} == peers | {"logId": ""}


@cases(select=lambda case: case.name in ("docs", "redoc"))
def test_documentation_pages_exist(http: httpx.Client, case: Case) -> None:
    response = replay(http, case)

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_the_openapi_description_covers_the_peers(http: httpx.Client) -> None:
    (case,) = (case for case in recorded_cases() if case.name == "openapi")
    ours, peers = replay(http, case).json(), case.answer_json

    for path, operations in peers["paths"].items():
        for method, operation in operations.items():
            assert ours["paths"][path][method]["operationId"] == operation["operationId"]
            assert ours["paths"][path][method]["responses"].keys() >= operation["responses"].keys()
    body = ours["paths"][SEGMENTATION_PATH]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    peer_schema = peers["components"]["schemas"]["InferRequest"]
    assert body["required"] is True
    assert schema["properties"].keys() >= peer_schema["properties"].keys()
    # `imageId` may stand for the image, and `prompts` for the rest.
    alternatives = [part["anyOf"][0]["required"] for part in schema["allOf"]]
    assert [name for names in alternatives for name in names] == peer_schema["required"]


@cases(select=lambda case: case.name in ADDED_ENDPOINTS)
def test_added_endpoints_answer_where_the_peer_has_nothing(http: httpx.Client, case: Case) -> None:
    assert case.status == 404
    assert replay(http, case).status_code == 200, ADDED_ENDPOINTS[case.name]
