"""A session reads its image once, and sends it no more often than it must."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import AsyncClient, Client, NotFoundError, Prediction, images

from tests.client.canned import BOX, CannedServer, answer

FILE_ID = hashlib.sha256(b"file").hexdigest()
FORGOTTEN = (404, {"logId": "x", "errorCode": 404, "errorMsg": "forgotten"})

Session = Callable[..., list[Prediction]]


def in_turn(address: str, source: Any, count: int, between: Callable[[], object]) -> list[Any]:
    with Client(address) as client:
        session = client.image(source)
        between()
        return [session.predict(boxes=BOX) for _ in range(count)]


def in_turn_async(
    address: str, source: Any, count: int, between: Callable[[], object]
) -> list[Any]:
    async def call() -> list[Any]:
        async with AsyncClient(address) as client:
            session = await client.image(source)
            between()
            return [await session.predict(boxes=BOX) for _ in range(count)]

    return asyncio.run(call())


@pytest.fixture(params=[in_turn, in_turn_async], ids=["sync", "async"])
def ask_about(request: pytest.FixtureRequest) -> Session:
    """A session about an image that is asked some times, after something happened."""
    chosen: Session = request.param
    return chosen


def images_sent(server: CannedServer) -> list[tuple[str, str]]:
    """`image` or `imageId`, and what it held, of each request."""
    return [
        next((name, sent[name]) for name in ("image", "imageId") if name in sent)
        for sent in server.sent
    ]


FILE = ("image", base64.b64encode(b"file").decode())


def test_a_file_is_read_once_and_sent_once(
    server: CannedServer, ask_about: Session, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"file")
    server.answer = answer(1, imageId=FILE_ID)
    found = ask_about(server.url, path, 3, path.unlink)

    assert [len(prediction.rles) for prediction in found] == [1, 1, 1]
    assert images_sent(server) == [FILE, ("imageId", FILE_ID), ("imageId", FILE_ID)]
    assert len(server.connections) == 1


def test_it_is_sent_again_when_the_service_has_forgotten_it(
    server: CannedServer, ask_about: Session
) -> None:
    server.answer = answer(1, imageId=FILE_ID)
    server.answers = [(200, server.answer), FORGOTTEN]
    assert len(ask_about(server.url, b"file", 3, lambda: None)) == 3

    ids = [name for name, _ in images_sent(server)]
    assert ids == ["image", "imageId", "image", "imageId"]


def test_a_service_that_keeps_nothing_gets_it_each_time(
    server: CannedServer, ask_about: Session
) -> None:
    server.answer = answer(1)
    ask_about(server.url, b"file", 2, lambda: None)

    assert images_sent(server) == [FILE, FILE]


def test_pixels_are_encoded_once(
    server: CannedServer, ask_about: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = images.encode_png
    monkeypatch.setattr(images, "encode_png", lambda pixels: encoded.append(1) or encode(pixels))
    server.answer = answer(1)
    ask_about(server.url, np.zeros((3, 5, 3), np.uint8), 3, lambda: None)

    assert encoded == [1]
    assert len(server.sent) == 3


def test_the_service_fetches_a_url_once(server: CannedServer, ask_about: Session) -> None:
    server.answer = answer(1, imageId="whatever it is")
    server.answers = [(200, server.answer), (200, server.answer), FORGOTTEN]
    ask_about(server.url, "https://example.com/a.jpg", 3, lambda: None)

    url, by_id = ("image", "https://example.com/a.jpg"), ("imageId", "whatever it is")
    assert images_sent(server) == [url, by_id, by_id, url]


def test_without_a_session_a_url_is_fetched_each_time(server: CannedServer) -> None:
    server.answer = answer(1, imageId="whatever it is")
    with Client(server.url) as client:
        for _ in range(2):
            client.predict("https://example.com/a.jpg", boxes=BOX)

    assert [name for name, _ in images_sent(server)] == ["image", "image"]


def test_a_mask_that_the_service_forgot_cannot_be_refined(server: CannedServer) -> None:
    server.answer = answer(1, imageId=FILE_ID)
    server.answer["result"]["maskInfos"] = [{"label": "", "prompt": [], "maskId": "a mask"}]
    server.answers = [(200, server.answer), FORGOTTEN, FORGOTTEN]
    with Client(server.url) as client:
        session = client.image(b"file")
        first = session.predict(points=[1, 2], keep_masks=True)
        with pytest.raises(NotFoundError, match="forgotten"):
            session.predict(points=[1, 2], refine=first)
        assert session.predict(points=[1, 2], refine=first).size == (3, 5)

    assert [name for name, _ in images_sent(server)] == ["image", "imageId", "image", "image"]
    assert server.sent[-1]["prompts"][0]["maskId"] == "a mask"


def test_a_missing_file_is_missing_at_once(ask_about: Session) -> None:
    with pytest.raises(FileNotFoundError):
        ask_about("http://127.0.0.1:1", "no/such/file.jpg", 0, lambda: None)
