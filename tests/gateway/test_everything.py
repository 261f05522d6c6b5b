"""`promptType` everything: what is asked of Triton, and the answer, whole and line by line."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx
import numpy as np
import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE, IMAGE_FILE, IMAGE_ID, PATH, body, locations

LINES = {"Accept": "application/x-ndjson"}


def everything(**fields: Any) -> dict[str, Any]:
    return {"image": IMAGE, "promptType": "everything", "visualize": False} | fields


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_the_answer_has_every_mask_and_what_is_known_of_it(
    http: httpx.Client, triton: FakeTriton
) -> None:
    answer = http.post(PATH, json=everything(logId="me"))

    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "logId": "me",
        "errorCode": 0,
        "errorMsg": "Success",
        "result": {
            "masks": [
                {"size": [4, 6], "counts": f"mask{k}", "rleResult": f"mask{k}"} for k in range(2)
            ],
            "maskInfos": [
                {
                    "label": "everything",
                    "prompt": [1.5, 2],
                    "score": 0.9375,
                    "stabilityScore": 0.96875,
                    "area": 7,
                    "box": [0, 1, 2, 3],
                    "point": [1.5, 2],
                    "cropBox": [0, 0, 6, 4],
                },
                {
                    "label": "everything",
                    "prompt": [4.5, 2],
                    "score": 0.875,
                    "area": 0,
                    "box": [0, 0, 0, 0],
                    "point": [4.5, 2],
                    "cropBox": [0, 0, 6, 4],
                },
            ],
            "imageId": IMAGE_ID,
        },
    }
    assert triton.last.model_name == "everything"
    assert triton.last.tensors.keys() == {"image"}
    assert triton.last.tensors["image"].tolist() == [IMAGE_FILE]
    assert "overlay" not in triton.last.outputs


def test_parameters_go_to_triton_under_metas_names(http: httpx.Client, triton: FakeTriton) -> None:
    options = {
        "pointsPerSide": 8,
        "pointsPerBatch": 4,
        "predIouThresh": 0.5,
        "stabilityScoreThresh": 1,
        "stabilityScoreOffset": 2.5,
        "boxNmsThresh": 0.25,
        "cropNLayers": 1,
        "cropNmsThresh": 0,
        "cropOverlapRatio": 0.125,
        "cropNPointsDownscaleFactor": 2,
        "minMaskRegionArea": 30,
    }
    assert http.post(PATH, json=everything(everything=options)).status_code == 200

    sent = {name: array for name, array in triton.last.tensors.items() if name != "image"}
    assert {name: (array.tolist(), array.dtype) for name, array in sent.items()} == {
        "points_per_side": ([8], np.int32),
        "points_per_batch": ([4], np.int32),
        "pred_iou_thresh": ([0.5], np.float32),
        "stability_score_thresh": ([1], np.float32),
        "stability_score_offset": ([2.5], np.float32),
        "box_nms_thresh": ([0.25], np.float32),
        "crop_n_layers": ([1], np.int32),
        "crop_nms_thresh": ([0], np.float32),
        "crop_overlap_ratio": ([0.125], np.float32),
        "crop_n_points_downscale_factor": ([2], np.int32),
        "min_mask_region_area": ([30], np.int32),
    }


def test_progress_comes_line_by_line_while_it_is_made(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.delay_s = 0.2
    with http.stream("POST", PATH, json=everything(), headers=LINES) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert json.loads(next(lines)) == {"progress": {"done": 0, "total": 48}}
        assert triton.streams_open == 1  # It goes on.
        rest = [json.loads(line) for line in lines]
    assert [line["progress"]["done"] for line in rest[:-1]] == [16, 32, 48]
    whole = http.post(PATH, json=everything()).json()
    assert {**rest[-1], "logId": ""} == {**whole, "logId": ""}


def test_the_picture_comes_when_it_is_asked_for(http: httpx.Client, triton: FakeTriton) -> None:
    answer = http.post(PATH, json=everything(visualize=True))
    assert "overlay" in triton.last.outputs
    assert answer.json()["result"]["image"]


def test_the_image_can_be_one_that_was_sent_before(http: httpx.Client, triton: FakeTriton) -> None:
    assert http.post(PATH, json=body()).status_code == 200
    asked = {"imageId": IMAGE_ID, "promptType": "everything", "visualize": False}
    assert http.post(PATH, json=asked).status_code == 200
    assert triton.last.tensors["image"].tolist() == [IMAGE_FILE]
    assert http.post(PATH, json=asked | {"imageId": "x"}, headers=LINES).status_code == 404


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"everything": {"pointsPerSide": 0}}, ["body.everything.pointsPerSide"]),
        ({"everything": {"predIouThresh": 1.5}}, ["body.everything.predIouThresh"]),
        ({"everything": {"cropNLayers": 4}}, ["body.everything.cropNLayers"]),
        ({"everything": {"pointsPerSize": 3}}, ["body.everything.pointsPerSize"]),
        ({"prompt": [[1, 2]], "multimask": True}, ["body.prompt", "body.multimask"]),
        ({"keepMasks": True}, ["body.keepMasks"]),
        ({"prompts": [{"points": [[1, 2]]}]}, ["body.prompts"]),
        ({"promptType": "point", "prompt": [[1, 2]], "everything": {}}, ["body.everything"]),
    ],
)
def test_what_is_wrong_is_named(
    http: httpx.Client, triton: FakeTriton, fields: dict[str, Any], expected: list[str]
) -> None:
    assert locations(http.post(PATH, json=everything(**fields), headers=LINES)) == expected
    assert triton.calls == []


def test_what_triton_finds_wrong_is_named_before_anything_is_sent(
    http: httpx.Client, triton: FakeTriton
) -> None:
    triton.failing_batch, triton.stream_failure = 0, "points_per_batch: should be less"
    for headers in ({}, LINES):
        answer = http.post(PATH, json=everything(), headers=headers)
        assert locations(answer) == ["body.everything.pointsPerBatch"]


def test_a_later_failure_is_the_last_line(http: httpx.Client, triton: FakeTriton) -> None:
    triton.failing_batch, triton.stream_failure = 2, "out of luck"
    answer = http.post(PATH, json=everything(logId="me"), headers=LINES)
    assert answer.status_code == 200
    *_, before, last = lines_of(answer)
    assert before == {"progress": {"done": 16, "total": 48}}
    assert last == {"logId": "me", "errorCode": 500, "errorMsg": "Internal server error"}


def test_its_own_deadline_holds_and_the_callers_if_that_is_shorter(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s, triton.batches = 0.1, 1000
    with start_gateway(request_timeout_s=60, everything_timeout_s=1.5) as http:
        *_, last = lines_of(http.post(PATH, json=everything(), headers=LINES))
        assert last["errorCode"] == 504
        short = LINES | {"X-Request-Timeout": "0.01"}
        assert http.post(PATH, json=everything(), headers=short).status_code == 504
        assert http.post(PATH, json=everything()).status_code == 504
    wait_until_stopped(triton)


def wait_until_stopped(triton: FakeTriton) -> None:
    """Until Triton was told to stop."""
    deadline = time.monotonic() + 60
    while triton.streams_open and time.monotonic() < deadline:
        time.sleep(0.02)
    assert triton.streams_open == 0


def test_a_caller_who_leaves_stops_it(http: httpx.Client, triton: FakeTriton) -> None:
    triton.delay_s, triton.batches = 0.05, 1000
    with http.stream("POST", PATH, json=everything(), headers=LINES) as response:
        lines = response.iter_lines()  # Were it not kept, the connection would be closed here.
        next(lines)
        assert triton.streams_open == 1
    wait_until_stopped(triton)


def test_others_are_answered_meanwhile_and_few_of_its_kind_wait(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.delay_s, triton.batches = 0.1, 1200  # More than anybody waits for.
    with (
        start_gateway(max_running=1, max_waiting=4, everything_max_waiting=1) as http,
        ThreadPoolExecutor(4) as pool,
    ):

        def ask() -> httpx.Response:
            return http.post(PATH, json=everything(), timeout=120)

        first = pool.submit(ask)
        while not triton.streams_open:
            time.sleep(0.01)
        rest = [pool.submit(ask) for _ in range(3)]  # One of them waits.
        refused = next(as_completed(rest, timeout=60)).result()
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert http.post(PATH, json=body()).status_code == 200
        assert triton.streams_open == 1
        triton.delay_s = 0.0
        statuses = sorted(future.result().status_code for future in (first, *rest))
        assert statuses == [200, 200, 503, 503]


def test_a_model_that_cannot_do_it_is_not_asked(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.served = {"fused": "box,point", "sam": "box,point,everything"}
    with start_gateway() as http:
        assert http.post(PATH, json=everything()).status_code == 200
        assert triton.last.model_name == "everything.sam"
        assert locations(http.post(PATH, json=everything(model="fused"))) == ["body.promptType"]
    triton.served = {"fused": "box,point"}
    with start_gateway() as http:
        assert locations(http.post(PATH, json=everything())) == ["body.promptType"]


def test_a_crash_on_the_way_is_tried_again_once(http: httpx.Client, triton: FakeTriton) -> None:
    triton.failing_batch, triton.stream_failure = 2, "Stub process is not healthy"
    triton.fails_once = True

    lines = lines_of(http.post(PATH, json=everything(), headers=LINES))

    assert [line["progress"]["done"] for line in lines[:-1]] == [0, 16, 32, 48]
    assert lines[-1]["errorCode"] == 0
    assert [call.model_name for call in triton.calls].count("everything") == 2
