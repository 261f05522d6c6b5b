"""`everything` with both clients: what is sent, what is read, and progress on the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

import numpy as np
import pytest
from ovseg_client import (
    AsyncClient,
    Client,
    ConnectionFailedError,
    Everything,
    EverythingOptions,
    InvalidRequestError,
    RequestTimeoutError,
)
from ovseg_client.everything import everything_request

from tests.client.canned import CannedServer, Run, answer


class Ask(Protocol):
    """Everything in one image, with a client of its own."""

    def __call__(self, address: str, **options: Any) -> Everything: ...


def ask_sync(address: str, **options: Any) -> Everything:
    with Client(address) as client:
        return client.everything(b"file", **options)


def ask_async(address: str, **options: Any) -> Everything:
    async def call() -> Everything:
        async with AsyncClient(address) as client:
            return await client.everything(b"file", **options)

    return asyncio.run(call())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def found(n: int) -> dict[str, Any]:
    infos = [
        {
            "label": "everything",
            "prompt": [k + 0.5, 1],
            "point": [k + 0.5, 1],
            "score": 0.75,
            "stabilityScore": 0.875,
            "area": 5,
            "box": [0, k, 4, k],
            "cropBox": [0, 0, 5, 3],
        }
        for k in range(n)
    ]
    return answer(n, maskInfos=infos)


def lines(*contents: dict[str, Any]) -> bytes:
    # As the service writes them, without spaces.
    texts = [json.dumps(content, separators=(",", ":")) for content in contents]
    return "".join(f"{text}\n" for text in texts).encode()


def progress(done: int) -> dict[str, Any]:
    return {"progress": {"done": done, "total": 32}}


@pytest.fixture
def lined(server: CannedServer) -> CannedServer:
    """A server that answers line by line."""
    server.headers = {"Content-Type": "application/x-ndjson"}
    return server


def test_masks_come_with_all_that_is_known_of_them(lined: CannedServer, ask: Ask) -> None:
    lined.answer = lines(progress(0), progress(16), progress(32), found(2))
    reports: list[tuple[int, int]] = []

    result = ask(
        lined.url,
        points_per_side=8,
        pred_iou_thresh=0.5,
        crop_n_layers=1,
        model="m",
        progress=lambda done, total: reports.append((done, total)),
    )

    assert reports == [(0, 32), (16, 32), (32, 32)]
    assert result.masks.shape == (2, 3, 5) and result.areas.tolist() == [5, 5]
    assert result.scores.tolist() == [0.75, 0.75]
    assert result.stability_scores.tolist() == [0.875, 0.875]
    assert result.points.tolist() == [[0.5, 1], [1.5, 1]]
    assert result.crop_boxes.tolist() == [[0, 0, 5, 3]] * 2
    assert result.boxes.tolist() == [[0, 0, 5, 1], [0, 1, 5, 1]]
    (sent,) = lined.sent
    assert sent.pop("image")
    assert sent == {
        "promptType": "everything",
        "everything": {"pointsPerSide": 8, "predIouThresh": 0.5, "cropNLayers": 1},
        "visualize": False,
        "model": "m",
    }


def test_nothing_found_is_no_mask(lined: CannedServer, ask: Ask) -> None:
    lined.answer = lines(progress(0), {**found(0), "logId": "me"})
    result = ask(lined.url)
    assert len(result.scores) == 0 and result.points.shape == (0, 2) and result.log_id == "me"


def test_an_answer_in_one_piece_is_one_too(server: CannedServer, ask: Ask) -> None:
    server.headers = {"Content-Type": "application/json"}
    server.answer = found(1)
    assert len(ask(server.url).rles) == 1


def test_an_error_at_the_end_has_its_own_status(lined: CannedServer, ask: Ask) -> None:
    late = {"logId": "x", "errorCode": 504, "errorMsg": "The request took too long"}
    lined.answer = lines(progress(0), late)
    with pytest.raises(RequestTimeoutError, match="took too long"):
        ask(lined.url)
    problem = [{"type": "t", "loc": "body.everything.pointsPerSide", "msg": "too many"}]
    lined.answer = lines({"logId": "x", "errorCode": 422, "errorMsg": json.dumps(problem)})
    with pytest.raises(InvalidRequestError, match=r"body\.everything\.pointsPerSide: too many"):
        ask(lined.url)
    assert len(lined.sent) == 2


def test_an_answer_that_breaks_off_is_a_lost_connection(lined: CannedServer, ask: Ask) -> None:
    lined.answer = lines(progress(0), progress(16))
    with pytest.raises(ConnectionFailedError, match="broke off"):
        ask(lined.url)
    assert len(lined.sent) == 1


def test_a_session_sends_its_image_once(lined: CannedServer) -> None:
    lined.answer = lines(found(1) | {"result": {**found(1)["result"], "imageId": "id"}})
    with Client(lined.url) as client:
        session = client.image(np.zeros((3, 5, 3), np.uint8))
        session.everything()
        session.everything(points_per_side=4)
    assert "image" in lined.sent[0]
    assert lined.sent[1]["imageId"] == "id" and "image" not in lined.sent[1]


def test_a_parameter_that_is_none_is_a_type_error() -> None:
    options: EverythingOptions = {"points_per_side": 3, "min_mask_region_area": 7}
    assert everything_request(**options).parameters == options
    with pytest.raises(TypeError, match="points_per_size"):
        everything_request(points_per_size=3)


def test_the_command_shows_every_mask_with_its_point(lined: CannedServer, run: Run) -> None:
    lined.answer = lines(progress(0), found(2))
    arguments = (__file__, "--everything", "--points-per-side", 4, "--url", lined.url)

    shown = run(*arguments, "--json")

    assert shown.exit_code == 0, shown.output
    masks = json.loads(shown.stdout)["masks"]
    assert [mask["prompt"] for mask in masks] == [[0.5, 1], [1.5, 1]]
    assert [mask["score"] for mask in masks] == [0.75, 0.75]
    assert lined.sent[0]["everything"] == {"pointsPerSide": 4}
    assert run(*arguments, "--point", "1,2").exit_code == 2
