"""`imageId`: a caller need not send an image again."""

from __future__ import annotations

import base64

import httpx
import pytest
from ovseg_gateway.recently_used import RecentlyUsed

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE_FILE, IMAGE_ID, PATH, body, locations


def of_id(image_id: object, **fields: object) -> dict[str, object]:
    """A good request that names an image instead of sending it."""
    named = body(imageId=image_id, **fields)
    del named["image"]
    return named


def test_what_was_used_last_is_kept_as_far_as_there_is_room() -> None:
    store: RecentlyUsed[str] = RecentlyUsed(10)
    assert store.put("first", "a", 4) and store.put("second", "b", 4)
    assert store.put("first", "A", 4)  # Under the same name it counts once.
    assert store.get("second") == "b"  # Now the first is the oldest.
    assert store.put("third", "c", 6)
    assert (store.get("first"), store.get("second"), store.get("third")) == (None, "b", "c")
    assert not store.put("fourth", "d", 11)
    assert store.get("second") and store.get("third")


def test_a_prompt_about_an_image_sent_before_reaches_triton_with_its_bytes(
    http: httpx.Client, triton: FakeTriton
) -> None:
    image_id = http.post(PATH, json=body()).json()["result"]["imageId"]
    again = http.post(PATH, json=of_id(image_id, prompt=[[5, 6, 7, 8]]))

    assert image_id == IMAGE_ID
    assert again.status_code == 200
    assert again.json()["result"]["imageId"] == image_id
    assert triton.last.tensors["image"][0] == IMAGE_FILE
    assert triton.last.tensors["point_coords"].ravel().tolist() == [5, 6, 7, 8]


def test_an_image_that_is_not_held_is_a_404_that_says_what_to_do(http: httpx.Client) -> None:
    answer = http.post(PATH, json=of_id("0" * 64, logId="x"))

    assert answer.status_code == 404
    assert answer.json() == {
        "logId": "x",
        "errorCode": 404,
        "errorMsg": "No image with this imageId is held here; send it as `image`",
    }
    assert 'refusals_total{reason="forgotten_image"}' in http.get("/metrics").text


def test_an_image_is_held_only_after_an_answer_about_it(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway() as http:
        triton.fail("INVALID_ARGUMENT", "image: not an image")
        assert http.post(PATH, json=body()).status_code == 422
        triton.reset()
        assert http.post(PATH, json=of_id(IMAGE_ID)).status_code == 404


def test_it_is_forgotten_when_others_need_the_room(start_gateway: StartGateway) -> None:
    files = [bytes([number]) * 600 for number in range(3)]
    with start_gateway(image_store_bytes=1500) as http:
        ids = [
            http.post(PATH, json=body(image=base64.b64encode(file).decode())).json()["result"][
                "imageId"
            ]
            for file in files
        ]
        statuses = [http.post(PATH, json=of_id(image_id)).status_code for image_id in ids]

    assert statuses == [404, 200, 200]


def test_without_a_store_no_id_is_given(start_gateway: StartGateway) -> None:
    with start_gateway(image_store_bytes=0) as http:
        assert "imageId" not in http.post(PATH, json=body()).json()["result"]


def test_an_image_that_is_sent_counts_more_than_an_id(
    http: httpx.Client, triton: FakeTriton
) -> None:
    answer = http.post(PATH, json=body(imageId="0" * 64))
    assert answer.status_code == 200
    assert triton.last.tensors["image"][0] == IMAGE_FILE


@pytest.mark.parametrize(("image_id", "location"), [(7, "body.imageId"), (None, "body.image")])
def test_an_id_of_another_type_and_none_at_all_are_named(
    image_id: object, location: str, http: httpx.Client
) -> None:
    assert locations(http.post(PATH, json=of_id(image_id))) == [location]
