"""Load test: REST and gRPC users that segment one hot image, and now and then a new one.

    locust -f loadtest/locustfile.py --headless --users 8 --run-time 1m --host http://127.0.0.1:8080

`make loadtest` runs it against a server that `make serve` started. Only an answer with the right
number of masks counts as a success.
"""

from __future__ import annotations

import base64
import os
import random
import time
from pathlib import Path
from typing import Any

import grpc.experimental.gevent
import numpy as np
import tritonclient.grpc as triton
from locust import HttpUser, User, constant, task

from ovseg.demo import BOXES, PHOTO
from ovseg.settings import get_settings

# gRPC's own threads would block gevent's loop.
grpc.experimental.gevent.init_gevent()

HOT_IMAGE = Path(os.environ.get("LOADTEST_IMAGE", PHOTO)).read_bytes()
HOT_WEIGHT, NEW_WEIGHT = 4, 1
TIMEOUT_S = 120.0


def new_image() -> bytes:
    """The hot image as a file that no cache has seen: decoders ignore what follows a JPEG's end."""
    return HOT_IMAGE + random.randbytes(16)


class RestUser(HttpUser):
    """Sends the documented request, one box at a time."""

    weight = 3
    wait_time = constant(0)

    @task(HOT_WEIGHT)
    def next_prompt(self) -> None:
        """Another box on an image that the server knows."""
        self._segment("REST next prompt", HOT_IMAGE)

    @task(NEW_WEIGHT)
    def first_prompt(self) -> None:
        """A box on an image that the server has to encode."""
        self._segment("REST new image", new_image())

    def _segment(self, name: str, image: bytes) -> None:
        body = {
            "image": base64.b64encode(image).decode("ascii"),
            "promptType": "box",
            "prompt": [random.choice(BOXES)],
            "visualize": False,
        }
        with self.client.post(
            "/open-vocabulary-segmentation",
            json=body,
            name=name,
            timeout=TIMEOUT_S,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {response.text[:200]}")
            elif len(response.json()["result"]["masks"]) != 1:
                response.failure("not one mask")


class GrpcUser(User):
    """Calls the ensemble directly, as a robot would."""

    weight = 1
    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self._triton = triton.InferenceServerClient(get_settings().triton_grpc_address)

    def on_stop(self) -> None:
        """Disconnect."""
        self._triton.close()

    @task(HOT_WEIGHT)
    def next_prompt(self) -> None:
        """Another box on an image that the server knows."""
        self._segment("gRPC next prompt", HOT_IMAGE)

    @task(NEW_WEIGHT)
    def first_prompt(self) -> None:
        """A box on an image that the server has to encode."""
        self._segment("gRPC new image", new_image())

    def _segment(self, name: str, image: bytes) -> None:
        x0, y0, x1, y1 = random.choice(BOXES)
        started = time.perf_counter()
        failure: Exception | None = None
        size = 0
        try:
            answer = self._triton.infer(
                "open_vocabulary_segmentation",
                [
                    _tensor("image", np.array([image], np.object_), "BYTES"),
                    _tensor("point_coords", np.array([[[x0, y0], [x1, y1]]], np.float32), "FP32"),
                    _tensor("point_labels", np.array([[2, 3]], np.int32), "INT32"),
                ],
                outputs=[triton.InferRequestedOutput(output) for output in ("counts", "size")],
                client_timeout=TIMEOUT_S,
            )
            counts = answer.as_numpy("counts")
            size = sum(len(text) for text in counts.ravel())
            if counts.shape != (1, 1):
                failure = ValueError(f"counts of shape {counts.shape}")
        except Exception as error:  # Locust counts whatever went wrong.
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - started) * 1e3,
            response_length=size,
            exception=failure,
        )


def _tensor(name: str, array: Any, datatype: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor
