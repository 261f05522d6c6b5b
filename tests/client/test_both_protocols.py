"""The client against the real service: REST and gRPC give the same masks."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import ovseg_client
import pytest
from ovseg_client import (
    ApiError,
    AsyncClient,
    Client,
    InvalidRequestError,
    PredictArguments,
    Prediction,
)
from PIL import Image

from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO

BOXES = [[20, 10, 120, 90], [60, 40, 180, 140]]
PHOTO_BOXES = [[150, 12, 300, 150], [275, 345, 510, 511], [130, 345, 212, 425]]
CLICK = [[[220, 100]]]
CLICKS = [[[220, 100], [60, 400]]]


@pytest.fixture(scope="module")
def clients(standin_service: Any) -> Iterator[tuple[Client, Client]]:
    with (
        Client(standin_service.base_url) as rest,
        Client(f"grpc://{standin_service.grpc_address}") as grpc,
    ):
        yield rest, grpc


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)


@pytest.mark.parametrize(
    "prompts", [{"boxes": BOXES}, {"points": [[50, 60], [100, 20]]}, {"points": [50, 60]}]
)
def test_both_give_the_same_masks(
    clients: tuple[Client, Client], pixels: Any, prompts: dict[str, Any]
) -> None:
    over_rest, over_grpc = (client.predict(pixels, **prompts) for client in clients)

    assert over_rest.rles == over_grpc.rles
    assert over_rest.size == over_grpc.size == (150, 200)
    assert np.array_equal(over_rest.masks, over_grpc.masks)
    assert np.array_equal(over_rest.scores, over_grpc.scores, equal_nan=True)
    assert over_rest.masks.any(axis=(1, 2)).all()


def test_masks_lie_where_the_boxes_are(clients: tuple[Client, Client], pixels: Any) -> None:
    masks = clients[0].predict(pixels, boxes=BOXES).masks

    for mask, (x0, y0, x1, y1) in zip(masks, BOXES, strict=True):
        inside = np.zeros_like(mask)
        inside[y0:y1, x0:x1] = True
        assert (mask & inside).sum() / (mask | inside).sum() > 0.95


def test_both_draw_a_picture_of_the_images_size(
    clients: tuple[Client, Client], pixels: Any
) -> None:
    for client in clients:
        overlay = client.predict(pixels, boxes=BOXES, visualize=True).overlay
        assert overlay is not None
        picture = Image.open(io.BytesIO(overlay))
        assert (picture.format, picture.size) == ("JPEG", (200, 150))


@pytest.mark.parametrize("index", [0, 1], ids=["rest", "grpc"])
def test_both_refuse_what_is_no_image(clients: tuple[Client, Client], index: int) -> None:
    with pytest.raises(ovseg_client.InvalidRequestError) as caught:
        clients[index].predict(b"no image", boxes=BOXES)

    assert [problem.loc.removeprefix("body.") for problem in caught.value.problems] == ["image"]


@pytest.mark.parametrize("index", [0, 1], ids=["rest", "grpc"])
def test_both_know_when_the_service_is_ready(clients: tuple[Client, Client], index: int) -> None:
    assert clients[index].is_ready()


@pytest.mark.parametrize(
    "prompts",
    [
        {"points": [[[220, 100], [60, 400]]], "labels": [[1, 0]]},
        {"points": [[[220, 100], [0, 0]], [[170, 385], [400, 400]]], "labels": [[1, -1], [1, 0]]},
        {"points": [[220, 100]], "boxes": [[150, 12, 300, 150]]},
        {"boxes": [[150, 12, 300, 150]], "multimask": True},
        {"points": [[[220, 100], [230, 60]]], "multimask": True},
    ],
)
def test_sams_own_prompts_give_the_same_masks_over_both(
    mini_service: Service, prompts: dict[str, Any]
) -> None:
    with (
        Client(mini_service.base_url) as rest,
        Client(f"grpc://{mini_service.grpc_address}") as grpc,
    ):
        over_rest = rest.predict(EXAMPLE_PHOTO, **prompts)
        over_grpc = grpc.predict(EXAMPLE_PHOTO, **prompts)

    assert over_rest.rles == over_grpc.rles
    assert np.array_equal(over_rest.scores, over_grpc.scores)
    assert over_rest.masks.shape == over_grpc.masks.shape
    assert over_rest.masks.any()


def _conversation(address: str) -> list[Prediction]:
    """Everything that a client can do with one photograph."""
    with Client(address) as client:
        assert client.is_ready()
        session = client.image(EXAMPLE_PHOTO)
        first = session.predict(points=CLICK, keep_masks=True)
        items: list[PredictArguments] = [
            {"image": EXAMPLE_PHOTO, "boxes": [box], "visualize": True} for box in PHOTO_BOXES
        ]
        return [
            client.predict(EXAMPLE_PHOTO, boxes=PHOTO_BOXES, multimask=True),
            first,
            session.predict(points=CLICKS, labels=[[1, 0]], refine=first),
            *(result.get() for result in client.predict_many(items, concurrency=2)),
        ]


async def _async_conversation(address: str) -> list[Prediction]:
    """The same with the other client."""
    async with AsyncClient(address) as client:
        assert await client.is_ready()
        session = await client.image(EXAMPLE_PHOTO)
        first = await session.predict(points=CLICK, keep_masks=True)
        items: list[PredictArguments] = [
            {"image": EXAMPLE_PHOTO, "boxes": [box], "visualize": True} for box in PHOTO_BOXES
        ]
        return [
            await client.predict(EXAMPLE_PHOTO, boxes=PHOTO_BOXES, multimask=True),
            first,
            await session.predict(points=CLICKS, labels=[[1, 0]], refine=first),
            *[result.get() async for result in client.predict_many(items, concurrency=2)],
        ]


def test_sync_and_async_give_the_same_over_both(mini_service: Service) -> None:
    addresses = (mini_service.base_url, f"grpc://{mini_service.grpc_address}")
    reference, *others = [
        *(_conversation(address) for address in addresses),
        *(asyncio.run(_async_conversation(address)) for address in addresses),
    ]

    assert len(others) == 3
    for conversation in others:
        for found, expected in zip(conversation, reference, strict=True):
            assert found.rles == expected.rles
            assert np.array_equal(found.scores, expected.scores)
            assert found.overlay == expected.overlay
    assert len({str(found.rles) for found in reference}) == len(reference)


def test_both_clients_refuse_alike(mini_service: Service) -> None:
    async def refusal(address: str) -> ApiError:
        async with AsyncClient(address) as client:
            with pytest.raises(InvalidRequestError) as caught:
                await client.predict(b"no image", boxes=BOXES)
        return caught.value

    for address in (mini_service.base_url, f"grpc://{mini_service.grpc_address}"):
        with Client(address) as client, pytest.raises(InvalidRequestError) as caught:
            client.predict(b"no image", boxes=BOXES)
        other = asyncio.run(refusal(address))
        assert (other.status, other.message) == (caught.value.status, caught.value.message)
        assert other.status == 422


def test_a_model_that_is_not_served_is_the_callers_error(mini_service: Service) -> None:
    for address in (mini_service.base_url, f"grpc://{mini_service.grpc_address}"):
        with Client(address) as client, pytest.raises(InvalidRequestError, match="model"):
            client.predict(EXAMPLE_PHOTO, boxes=PHOTO_BOXES, model="nobodys")


@pytest.mark.parametrize("multimask", [False, True])
def test_a_prediction_is_refined_alike_over_both(mini_service: Service, multimask: bool) -> None:
    click = [[[220, 100]], [[170, 385]]]
    clicks = [[[220, 100], [60, 400]], [[170, 385], [400, 400]]]
    refined, fresh = [], []
    for address in (mini_service.base_url, f"grpc://{mini_service.grpc_address}"):
        with Client(address) as client:
            first = client.predict(
                EXAMPLE_PHOTO, points=click, multimask=multimask, keep_masks=True
            )
            labels = [[1, 0], [1, 0]]
            refined.append(
                client.predict(EXAMPLE_PHOTO, points=clicks, labels=labels, refine=first)
            )
            fresh.append(client.predict(EXAMPLE_PHOTO, points=clicks, labels=labels))

    assert refined[0].rles == refined[1].rles
    assert fresh[0].rles == fresh[1].rles
    assert refined[0].rles != fresh[0].rles  # The earlier mask did say something.


def test_what_was_not_kept_or_is_of_another_length_cannot_be_refined(
    mini_service: Service,
) -> None:
    for address in (mini_service.base_url, f"grpc://{mini_service.grpc_address}"):
        with Client(address) as client:
            first = client.predict(EXAMPLE_PHOTO, points=[[220, 100]])
            with pytest.raises(ValueError, match="keep_masks=True"):
                client.predict(EXAMPLE_PHOTO, points=[[220, 100]], refine=first)
            with pytest.raises(ValueError, match="as many masks"):
                client.predict(EXAMPLE_PHOTO, points=[[1, 2], [3, 4]], refine=first)
