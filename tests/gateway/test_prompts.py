"""SAM's own prompts over REST: several points, boxes with points, candidates, refinement."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE, PATH, locations, problems


def asking(prompts: Any, **fields: Any) -> dict[str, Any]:
    """A request with `prompts`."""
    return {"image": IMAGE, "prompts": prompts, "visualize": False} | fields


def test_each_prompt_is_a_row_of_points_and_corners_padded_to_the_longest(
    http: httpx.Client, triton: FakeTriton
) -> None:
    prompts = [
        {"points": [[1, 2], [3, 4]], "labels": [1, 0]},
        {"box": [5, 6, 7, 8]},
        {"points": [[9, 10]], "box": [11, 12, 13, 14]},
        {"points": [[15, 16]]},
    ]
    answer = http.post(PATH, json=asking(prompts)).json()

    assert triton.last.tensors["point_coords"].tolist() == [
        [[1, 2], [3, 4], [0, 0]],
        [[5, 6], [7, 8], [0, 0]],
        [[9, 10], [11, 12], [13, 14]],
        [[15, 16], [0, 0], [0, 0]],
    ]
    assert triton.last.tensors["point_labels"].tolist() == [
        [1, 0, -1],
        [2, 3, -1],
        [1, 2, 3],
        [1, -1, -1],
    ]
    assert not triton.last.tensors.keys() & {"mask_input", "multimask"}
    infos = answer["result"]["maskInfos"]
    assert [info["promptIndex"] for info in infos] == [0, 1, 2, 3]
    assert {info["label"] for info in infos} == {"prompt"}
    assert infos[2]["prompt"] == prompts[2]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompts": [{"points": [[1, 2]]}, {"box": [1, 2, 3, 4]}]},
        {"prompt": [[1, 2], [3, 4]], "promptType": "point"},
    ],
    ids=["prompts", "rows"],
)
def test_with_multimask_each_prompt_has_three_masks_in_a_row(
    http: httpx.Client, triton: FakeTriton, fields: dict[str, Any]
) -> None:
    body = {"image": IMAGE, "visualize": False, "multimask": True, **fields}
    result = http.post(PATH, json=body).json()["result"]

    assert triton.last.tensors["multimask"].tolist() == [True]
    assert [mask["counts"] for mask in result["masks"]] == [f"mask{k}" for k in range(6)]
    prompts = [info["prompt"] for info in result["maskInfos"]]
    assert prompts[0] == prompts[1] == prompts[2] != prompts[3] == prompts[4] == prompts[5]


def test_a_mask_that_was_kept_is_refined(http: httpx.Client, triton: FakeTriton) -> None:
    first = http.post(
        PATH, json=asking([{"points": [[1, 2]]}], multimask=True, keepMasks=True)
    ).json()["result"]
    ids = [info["maskId"] for info in first["maskInfos"]]
    again = http.post(
        PATH,
        json={
            "imageId": first["imageId"],
            "prompts": [{"points": [[1, 2], [3, 4]], "labels": [1, 0], "maskId": ids[2]}] * 2,
        },
    )

    assert again.status_code == 200
    assert len(set(ids)) == 3
    mask_input = triton.last.tensors["mask_input"]
    assert (mask_input.dtype, mask_input.shape) == (np.float32, (2, 256, 256))
    assert (mask_input == 2).all()  # The logits of the third candidate.
    assert "low_res_masks" not in triton.last.outputs
    assert "maskId" not in again.json()["result"]["maskInfos"][0]


def test_masks_are_not_kept_unless_asked_for(http: httpx.Client) -> None:
    result = http.post(PATH, json=asking([{"points": [[1, 2]]}])).json()["result"]
    assert "maskId" not in result["maskInfos"][0]


def test_a_mask_is_refined_on_its_own_image_only(http: httpx.Client) -> None:
    kept = http.post(PATH, json=asking([{"points": [[1, 2]]}], keepMasks=True)).json()["result"]
    prompts = [{"points": [[1, 2]], "maskId": kept["maskInfos"][0]["maskId"]}]
    another = base64.b64encode(b"another image").decode()

    refused = http.post(PATH, json=asking(prompts, image=another))
    assert locations(refused) == ["body.prompts[0].maskId"]
    assert "another image" in problems(refused)[0]["msg"]


def test_a_mask_that_is_not_held_is_a_404(http: httpx.Client) -> None:
    answer = http.post(PATH, json=asking([{"points": [[1, 2]], "maskId": "gone"}]))
    assert answer.status_code == 404
    assert "maskId" in answer.json()["errorMsg"]


def test_what_is_kept_is_bounded(start_gateway: StartGateway) -> None:
    with start_gateway(mask_store_bytes=2 * 256 * 1024) as http:
        kept = http.post(PATH, json=asking([{"points": [[1, 2]]}] * 3, keepMasks=True)).json()
        ids = [info["maskId"] for info in kept["result"]["maskInfos"]]
        statuses = [
            http.post(PATH, json=asking([{"points": [[1, 2]], "maskId": mask_id}])).status_code
            for mask_id in ids
        ]
    assert statuses == [404, 200, 200]


POINT = {"points": [[1, 2]]}


@pytest.mark.parametrize(
    ("prompts", "location"),
    [
        ([{}], "body.prompts[0]"),
        ([POINT, {"points": [], "labels": []}], "body.prompts[1]"),
        ([{"points": [[1, 2]], "labels": [1, 0]}], "body.prompts[0]"),
        ([{"points": [[1, 2]], "labels": [2]}], "body.prompts[0].labels[0]"),
        ([{"points": [[1, 2, 3]]}], "body.prompts[0].points[0]"),
        ([{"points": [[1, "x"]]}], "body.prompts[0].points[0][1]"),
        ([{"box": [1, 2, 3]}], "body.prompts[0].box"),
        ([{"points": [[1, 2e9]]}], "body.prompts[0].points[0][1]"),
        ([POINT, {"box": [1, 2, -2e9, 4]}], "body.prompts[1].box[2]"),
        ([{"points": [[1, 2]] * 65}], "body.prompts[0].points"),
        ([POINT] * 1025, "body.prompts"),
        ("x", "body.prompts"),
        ([POINT, {**POINT, "maskId": "x"}], "body.prompts[0].maskId"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, prompts: Any, location: str) -> None:
    assert locations(http.post(PATH, json=asking(prompts))) == [location]


@pytest.mark.parametrize("field", [{"prompt": [[1, 2]]}, {"promptType": "box"}])
def test_both_ways_at_once_are_refused(http: httpx.Client, field: dict[str, Any]) -> None:
    assert locations(http.post(PATH, json=asking([POINT], **field))) == ["body.prompts"]


def test_no_prompts_are_no_masks(http: httpx.Client) -> None:
    result = http.post(PATH, json=asking([])).json()["result"]
    assert (result["masks"], result["maskInfos"]) == ([], [])


def test_a_model_must_take_all_kinds_that_are_asked_for(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    triton.served = {"boxes": "box", "both": "box,point"}
    with start_gateway() as http:
        http.post(PATH, json=asking([{"box": [1, 2, 3, 4]}]))
        assert triton.last.model_name == "open_vocabulary_segmentation"
        http.post(PATH, json=asking([{"box": [1, 2, 3, 4], "points": [[1, 2]]}]))
        assert triton.last.model_name == "open_vocabulary_segmentation.both"
