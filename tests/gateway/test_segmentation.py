"""What the gateway sends to Triton for a request, and what it makes of the answer."""

from __future__ import annotations

import base64
import uuid

import httpx
import numpy as np
import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import PICTURE, SIZE, FakeTriton
from tests.gateway.requests import IMAGE_FILE, IMAGE_ID, PATH, body


def test_boxes_become_pairs_of_labelled_corners(http: httpx.Client, triton: FakeTriton) -> None:
    http.post(PATH, json=body(prompt=[[1, 2, 3, 4], [5, 6, 7, 8.5]])).raise_for_status()

    sent = triton.last.tensors
    assert triton.last.model_name == "open_vocabulary_segmentation"
    assert sent["image"].tolist() == [IMAGE_FILE]
    assert sent["point_coords"].dtype == np.float32
    assert sent["point_coords"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]]
    assert sent["point_labels"].tolist() == [[2, 3], [2, 3]]


def test_each_point_is_a_foreground_prompt_of_its_own(
    http: httpx.Client, triton: FakeTriton
) -> None:
    http.post(PATH, json=body(prompt=[[1, 2], [3, 4]], promptType="point")).raise_for_status()

    sent = triton.last.tensors
    assert sent["point_coords"].tolist() == [[[1, 2]], [[3, 4]]]
    assert sent["point_labels"].tolist() == [[1], [1]]


@pytest.mark.parametrize(("prompt_type", "points"), [("box", 2), ("point", 1)])
def test_no_prompts_is_a_request_for_no_masks(
    http: httpx.Client, triton: FakeTriton, prompt_type: str, points: int
) -> None:
    response = http.post(PATH, json=body(prompt=[], promptType=prompt_type))

    assert response.json()["result"] == {"masks": [], "maskInfos": [], "imageId": IMAGE_ID}
    assert triton.last.tensors["point_coords"].shape == (0, points, 2)
    assert triton.last.tensors["point_labels"].shape == (0, points)


def test_masks_come_in_the_order_of_the_rows(http: httpx.Client) -> None:
    rows = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
    answer = http.post(PATH, json=body(prompt=rows)).json()

    assert answer["result"] == {
        "masks": [
            {"size": list(SIZE), "counts": "mask0", "rleResult": "mask0"},
            {"size": list(SIZE), "counts": "mask1", "rleResult": "mask1"},
        ],
        "maskInfos": [
            {"label": "box_prompt", "prompt": rows[0], "score": 0.5},
            {"label": "box_prompt", "prompt": rows[1], "score": 0.5},
        ],
        "imageId": IMAGE_ID,
    }
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Success")


def test_a_model_without_scores_leaves_the_score_out(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.score = float("nan")
    answer = http.post(PATH, json=body(prompt=[[1, 2]], promptType="point")).json()

    assert answer["result"]["maskInfos"] == [{"label": "point_prompt", "prompt": [1.0, 2.0]}]


def test_the_picture_is_asked_for_only_when_it_is_wanted(
    http: httpx.Client, triton: FakeTriton
) -> None:
    without = http.post(PATH, json=body(visualize=False)).json()
    assert "overlay" not in triton.last.outputs
    assert "image" not in without["result"]

    with_picture = http.post(PATH, json=body(visualize=True)).json()
    assert "overlay" in triton.last.outputs
    assert base64.b64decode(with_picture["result"]["image"]) == PICTURE


@pytest.mark.parametrize("default", [True, False])
def test_a_request_that_does_not_say_gets_the_servers_default_picture(
    start_gateway: StartGateway, default: bool
) -> None:
    with start_gateway(visualize=default) as http:
        answers = [http.post(PATH, json=body(visualize=None)).json()]
        silent = body()
        del silent["visualize"]
        answers.append(http.post(PATH, json=silent).json())

    assert [("image" in answer["result"]) for answer in answers] == [default, default]


def test_the_callers_log_id_comes_back_and_goes_to_triton(
    http: httpx.Client, triton: FakeTriton
) -> None:
    answer = http.post(PATH, json=body(logId="abc-1")).json()

    assert answer["logId"] == "abc-1"
    assert triton.last.options["request_id"] == "abc-1"


@pytest.mark.parametrize("log_id", [None, ""])
def test_a_log_id_is_made_up_where_the_caller_sends_none(
    http: httpx.Client, log_id: str | None
) -> None:
    answer = http.post(PATH, json=body(logId=log_id)).json()

    assert uuid.UUID(answer["logId"])


def test_a_very_long_log_id_comes_back_whole_and_goes_to_triton_cut(
    http: httpx.Client, triton: FakeTriton
) -> None:
    answer = http.post(PATH, json=body(logId="x" * 5000)).json()

    assert answer["logId"] == "x" * 5000
    assert triton.last.options["request_id"] == "x" * 128


def test_the_answer_says_where_the_time_went(http: httpx.Client) -> None:
    header = http.post(PATH, json=body()).headers["server-timing"]

    durations = dict(part.split(";dur=") for part in header.split(", "))
    assert {"json", "base64", "triton", "total"} <= durations.keys()
    assert float(durations["total"]) >= float(durations["triton"]) >= 0


def test_unknown_fields_are_ignored(http: httpx.Client) -> None:
    response = http.post(PATH, json=body(threshold=0.5, image2="x"))

    assert response.status_code == 200
