"""What the client asks Triton for, and when it asks again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import AsyncClient, ConnectionFailedError, NotFoundError, UnavailableError
from ovseg_client.errors import ApiError
from ovseg_client.grpc_transport import AsyncioTriton, GrpcTransport
from ovseg_client.images import LoadedImage
from ovseg_client.prediction import Prediction
from ovseg_client.request import predict_request
from ovseg_client.retrying import Deadline
from ovseg_client.waiting import Blocking, run_blocking
from tritonclient.utils import InferenceServerException

from tests.client.canned import BOX, CannedServer

TENSORS = {
    "size": np.array([3, 5], np.int32),
    "counts": np.array([[b"0?"]], np.object_),
    "scores": np.array([[0.5]], np.float32),
}


class Result:
    as_numpy = staticmethod(TENSORS.__getitem__)


class FakeTriton:
    """Fails with `errors` first; remembers the images and the timeouts that it was sent."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        self._errors = list(errors)
        self.images: list[bytes] = []
        self.timeouts: list[float] = []

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        self.images.append(inputs[0]._get_content()[4:])  # After its length.
        self.timeouts.append(options["client_timeout"])
        if self._errors:
            status, message = self._errors.pop(0)
            raise InferenceServerException(message, status=f"StatusCode.{status}")
        return Result()

    async def is_model_ready(self, model_name: str, *, client_timeout: float) -> bool:
        return True

    async def close(self) -> None:
        pass


class NoWait(Blocking):
    def __init__(self) -> None:
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def predict(triton: FakeTriton, image: LoadedImage, waiting: NoWait | None = None) -> Prediction:
    transport = GrpcTransport("host:1", triton, waiting or NoWait(), retries=2)
    return run_blocking(transport.predict(image, predict_request(boxes=BOX), Deadline.after(100)))


def test_a_busy_or_absent_triton_is_asked_again() -> None:
    triton = FakeTriton(("UNAVAILABLE", "failed to connect"), ("UNAVAILABLE", "queue is full"))
    waiting = NoWait()

    assert predict(triton, LoadedImage(file=b"file"), waiting).size == (3, 5)
    assert triton.images == [b"file"] * 3
    assert len(waiting.waited) == 2 and min(waiting.waited) >= 1
    assert 90 < triton.timeouts[-1] < triton.timeouts[0] <= 100


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", ConnectionFailedError),
        ("UNAVAILABLE", "queue is full", UnavailableError),
        ("NOT_FOUND", "unknown model: 'm' has no available versions", UnavailableError),
        ("INTERNAL", "Stub process 'postprocess_0_0' is not healthy.", UnavailableError),
    ],
)
def test_but_not_for_ever(status: str, message: str, error: type[Exception]) -> None:
    triton = FakeTriton(*[(status, message)] * 5)
    with pytest.raises(error, match=message):
        predict(triton, LoadedImage(file=b"file"))

    assert len(triton.images) == 3


@pytest.mark.parametrize(
    ("status", "expected"),
    [("INVALID_ARGUMENT", 422), ("NOT_FOUND", 404), ("INTERNAL", 500), ("DEADLINE_EXCEEDED", 504)],
)
def test_other_failures_are_final(status: str, expected: int) -> None:
    triton = FakeTriton(*[(status, "why")] * 5)
    with pytest.raises(ApiError, match="why") as caught:
        predict(triton, LoadedImage(file=b"file"))

    assert caught.value.status == expected
    assert isinstance(caught.value, NotFoundError) == (expected == 404)
    assert len(triton.images) == 1


def test_the_bytes_go_with_each_request_and_a_url_is_fetched_once(server: CannedServer) -> None:
    triton = FakeTriton()
    image = LoadedImage(url=server.url)
    for _ in range(2):
        predict(triton, image)

    assert triton.images == [b"what is there"] * 2
    assert server.gets == ["/"]


def test_an_async_client_may_be_made_before_its_event_loop() -> None:
    client = AsyncClient("grpc://127.0.0.1:1", retries=0)

    async def use() -> bool:
        async with client:
            return await client.is_ready()

    assert asyncio.run(use()) is False


def test_certificates_that_are_not_there_are_missed_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AsyncioTriton("127.0.0.1:1", {"ssl": True, "root_certificates": str(tmp_path / "no.pem")})
