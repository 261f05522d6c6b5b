"""What the client sends over REST, and what it makes of the answers."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ovseg_client
import pytest
from ovseg_client import Client

from tests.client.canned import CannedServer, answer

PICTURE = b"\xff\xd8 picture"


@pytest.fixture
def client(server: CannedServer) -> Iterator[Client]:
    with Client(server.url) as connected:
        yield connected


def test_boxes_go_out_as_rows_with_all_their_digits(server: CannedServer, client: Client) -> None:
    server.answer = answer(2)
    client.predict(b"file", boxes=np.array([[1, 2, 3, 60.9], [5, 6, 7, 8]]))

    assert server.sent == [
        {
            "image": base64.b64encode(b"file").decode(),
            "prompt": [[1.0, 2.0, 3.0, 60.9], [5.0, 6.0, 7.0, 8.0]],
            "promptType": "box",
            "visualize": False,
        }
    ]


def test_points_go_out_as_rows(server: CannedServer, client: Client) -> None:
    server.answer = answer(2)
    client.predict(b"file", points=[[1, 2], [3, 4]], labels=[1, 1], log_id="mine")

    assert server.sent[0]["prompt"] == [[1, 2], [3, 4]]
    assert server.sent[0]["promptType"] == "point"
    assert server.sent[0]["logId"] == "mine"


def test_a_file_goes_out_as_it_is_and_a_url_as_text(
    server: CannedServer, client: Client, tmp_path: Path
) -> None:
    server.answer = answer(1)
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    for image in (tmp_path / "a.jpg", str(tmp_path / "a.jpg"), "https://example.com/a.jpg"):
        client.predict(image, boxes=[1, 2, 3, 4])

    jpeg = base64.b64encode(b"jpeg").decode()
    assert [sent["image"] for sent in server.sent] == [jpeg, jpeg, "https://example.com/a.jpg"]


def test_the_answer_becomes_arrays(server: CannedServer, client: Client) -> None:
    server.answer = answer(2)
    server.headers = {"Server-Timing": "json;dur=0.5, triton;dur=30.25, total;dur=31"}
    found = client.predict(b"file", boxes=[[1, 2, 3, 4]] * 2)

    assert found.size == (3, 5)
    assert found.masks.shape == (2, 3, 5)
    assert found.masks.dtype == np.bool_
    assert found.masks[0].tolist() == [[True] * 5, [False] * 5, [False] * 5]
    assert found.scores.tolist() == [0.5, 0.5]
    assert found.overlay is None
    assert found.log_id == "theirs"
    assert found.timings == {"json": 0.5, "triton": 30.25, "total": 31.0}
    assert found.masks is found.masks  # decoded once


def test_the_peers_own_answers_are_understood(server: CannedServer, client: Client) -> None:
    peers = answer(1)
    del peers["result"]["masks"][0]["counts"], peers["result"]["maskInfos"][0]["score"]
    server.answer = peers
    found = client.predict(b"file", boxes=[1, 2, 3, 4])

    assert found.masks.sum() == 5
    assert np.isnan(found.scores).all()


def test_the_picture_comes_as_a_file(server: CannedServer, client: Client) -> None:
    server.answer = answer(1, image=base64.b64encode(PICTURE).decode())
    found = client.predict(b"file", boxes=[1, 2, 3, 4], visualize=True)

    assert server.sent[0]["visualize"] is True
    assert found.overlay == PICTURE


def test_no_prompts_give_no_masks(server: CannedServer, client: Client) -> None:
    server.answer = answer(0)
    found = client.predict(b"file", points=[])

    assert server.sent[0]["prompt"] == []
    assert found.masks.shape == (0, 0, 0)


def test_an_image_that_the_service_keeps_is_sent_once(server: CannedServer, client: Client) -> None:
    image_id = hashlib.sha256(b"file").hexdigest()
    server.answer = answer(1, imageId=image_id)
    for image in (b"file", b"file", b"another"):
        client.predict(image, boxes=[1, 2, 3, 4])

    assert [sent.get("imageId") for sent in server.sent] == [None, image_id, None]
    assert ["image" in sent for sent in server.sent] == [True, False, True]


def test_an_image_that_the_service_forgot_is_sent_again(
    server: CannedServer, client: Client
) -> None:
    server.answer = answer(1, imageId=hashlib.sha256(b"file").hexdigest())
    client.predict(b"file", boxes=[1, 2, 3, 4])
    server.answers = [(404, {"logId": "x", "errorCode": 404, "errorMsg": "forgotten"})]

    assert len(client.predict(b"file", boxes=[1, 2, 3, 4]).rles) == 1
    assert ["image" in sent for sent in server.sent] == [True, False, True]


def test_other_refusals_of_a_kept_image_are_not_tried_again(
    server: CannedServer, client: Client
) -> None:
    server.answer = answer(1, imageId=hashlib.sha256(b"file").hexdigest())
    client.predict(b"file", boxes=[1, 2, 3, 4])
    server.answers = [(422, {"logId": "x", "errorCode": 422, "errorMsg": "[]"})]

    with pytest.raises(ovseg_client.InvalidRequestError):
        client.predict(b"file", boxes=[1, 2, 3, 4])
    assert len(server.sent) == 2


def test_the_connection_is_used_again(server: CannedServer, client: Client) -> None:
    server.answer = answer(1)
    for _ in range(3):
        client.predict(b"file", boxes=[1, 2, 3, 4])

    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (422, ovseg_client.InvalidRequestError),
        (413, ovseg_client.InvalidRequestError),
        (401, ovseg_client.AuthenticationError),
        (403, ovseg_client.AuthenticationError),
        (404, ovseg_client.NotFoundError),
        (429, ovseg_client.RateLimitedError),
        (500, ovseg_client.ServerError),
        (503, ovseg_client.UnavailableError),
        (504, ovseg_client.RequestTimeoutError),
    ],
)
def test_each_status_has_its_error(
    server: CannedServer, client: Client, status: int, error: type[ovseg_client.ApiError]
) -> None:
    server.status = status
    server.answer = {"logId": "theirs", "errorCode": status, "errorMsg": "what it says"}
    with pytest.raises(error, match="what it says") as caught:
        client.predict(b"file", boxes=[1, 2, 3, 4])

    assert (caught.value.status, caught.value.log_id) == (status, "theirs")
    assert type(caught.value) is error


def test_a_refusal_lists_its_problems(server: CannedServer, client: Client) -> None:
    problems = [{"type": "value_error", "loc": "body.prompt[0]", "msg": "too short"}]
    server.status = 422
    server.answer = {"logId": "x", "errorCode": 422, "errorMsg": json.dumps(problems)}
    with pytest.raises(ovseg_client.InvalidRequestError) as caught:
        client.predict(b"file", boxes=[1, 2, 3, 4])

    assert caught.value.problems == (ovseg_client.Problem("body.prompt[0]", "too short"),)
    assert str(caught.value) == "body.prompt[0]: too short"


def test_an_answer_that_is_no_json_is_an_error_with_its_status(
    server: CannedServer, client: Client
) -> None:
    server.status, server.answer = 502, b"<html>bad gateway</html>"
    with pytest.raises(ovseg_client.ServerError, match="502"):
        client.predict(b"file", boxes=[1, 2, 3, 4])


def test_a_slow_server_is_a_timeout(server: CannedServer) -> None:
    server.delay = threading.Event()
    with (
        Client(server.url, timeout=0.1) as client,
        pytest.raises(ovseg_client.RequestTimeoutError),
    ):
        client.predict(b"file", boxes=[1, 2, 3, 4])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_at_the_address_is_a_connection_failure(scheme: str) -> None:
    with (
        Client(f"{scheme}://127.0.0.1:1") as client,
        pytest.raises(ovseg_client.ConnectionFailedError, match=r"127\.0\.0\.1:1"),
    ):
        client.predict(b"file", boxes=[1, 2, 3, 4])


def test_an_address_with_a_wrong_port_is_refused() -> None:
    with pytest.raises(ValueError, match="http://localhost:x"):
        Client("http://localhost:x")


@pytest.mark.parametrize("address", ["localhost:8080", "ftp://x", "http://", ""])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="grpc://"):
        Client(address)


@pytest.mark.parametrize(
    ("arguments", "prompts"),
    [
        (
            {"points": [[[1, 2], [3, 4]]], "labels": [[1, 0]]},
            [{"points": [[1, 2], [3, 4]], "labels": [1, 0]}],
        ),
        ({"points": [[1, 2]], "labels": [0]}, [{"points": [[1, 2]], "labels": [0]}]),
        (
            {"points": [[[1, 2], [3, 4]], [[5, 6], [0, 0]]], "labels": [[1, 1], [1, -1]]},
            [
                {"points": [[1, 2], [3, 4]], "labels": [1, 1]},
                {"points": [[5, 6]], "labels": [1]},
            ],
        ),
        (
            {"points": [[1, 2]], "boxes": [[3, 4, 5, 6]]},
            [{"points": [[1, 2]], "labels": [1], "box": [3, 4, 5, 6]}],
        ),
    ],
)
def test_what_rows_cannot_say_goes_out_as_prompts(
    server: CannedServer, client: Client, arguments: dict[str, Any], prompts: Any
) -> None:
    server.answer = answer(len(prompts))
    client.predict(b"file", **arguments)

    assert server.sent[0]["prompts"] == prompts
    assert not server.sent[0].keys() & {"prompt", "promptType", "multimask"}


def test_candidates_come_three_by_three(server: CannedServer, client: Client) -> None:
    server.answer = answer(6)
    found = client.predict(b"file", points=[[1, 2], [3, 4]], multimask=True)

    assert server.sent[0]["multimask"] is True
    assert found.masks.shape == (2, 3, 3, 5)
    assert found.scores.shape == (2, 3)
    flat = [mask["counts"] for candidates in found.rles for mask in candidates]
    assert flat == [mask["counts"] for mask in server.answer["result"]["masks"]]
