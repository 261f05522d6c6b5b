"""Load test: REST and gRPC users, most on one hot image, in steps from one user to all.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8080

`make loadtest` runs it against a server that `make serve` started; see README.md. An answer counts
as a success only if its mask is the one that the idle server gave before the test.
"""

from __future__ import annotations

import base64
import logging
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.experimental.gevent
import httpx
import numpy as np
import tritonclient.grpc as triton
from expected_masks import Box, ExpectedMasks, Rle
from locust import HttpUser, LoadTestShape, User, constant, events, task
from locust.util.timespan import parse_timespan

from ovseg.demo import BOXES, PHOTO
from ovseg.settings import get_settings

# gRPC's own threads would block gevent's loop.
grpc.experimental.gevent.init_gevent()

ROUTE = "/open-vocabulary-segmentation"
HOT_IMAGE = Path(os.environ.get("LOADTEST_IMAGE", PHOTO)).read_bytes()
USERS = int(os.environ.get("LOADTEST_USERS", "8"))
DURATION_S = parse_timespan(os.environ.get("LOADTEST_TIME", "1m"))
RAMP = (0.0, 0.25, 0.5, 1.0)
"""Share of the users in each step; each takes the same time, the first has one user."""
HOT_WEIGHT, NEW_WEIGHT = 4, 1
TIMEOUT_S = 120.0
BOX_CHOICES: list[Box] = [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in BOXES]

expected = ExpectedMasks()
logger = logging.getLogger(__name__)


def new_image() -> bytes:
    """The hot image as a file that no cache has seen: decoders ignore what follows a JPEG's end."""
    return HOT_IMAGE + random.randbytes(16)


def rest_body(image: bytes, box: Box) -> dict[str, Any]:
    """PaddleX's documented request."""
    text = base64.b64encode(image).decode("ascii")
    return {"image": text, "promptType": "box", "prompt": [box], "visualize": False}


@events.test_start.add_listener
def learn_masks(environment: Any, **_: Any) -> None:
    """Ask the idle server for the masks that it must give under load."""

    def ask(box: Box) -> Sequence[Rle]:
        answer = httpx.post(
            environment.host + ROUTE,
            json=rest_body(HOT_IMAGE, box),
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        masks: list[Rle] = answer.raise_for_status().json()["result"]["masks"]
        return masks

    try:
        expected.learn(BOX_CHOICES, ask)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        logger.error("the idle server gives no masks to compare with: %r", error)
        environment.process_exit_code = 1
        environment.runner.quit()


class Ramp(LoadTestShape):
    """Steps, so that the report shows where the throughput stops growing."""

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now; None at the end."""
        step = int(self.get_run_time() / DURATION_S * len(RAMP))
        if step >= len(RAMP):
            return None
        return max(round(USERS * RAMP[step]), 1), float(USERS)


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
        box = random.choice(BOX_CHOICES)
        with self.client.post(
            ROUTE, json=rest_body(image, box), name=name, timeout=TIMEOUT_S, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")
            elif problem := expected.problem(box, response.json()["result"]["masks"]):
                response.failure(problem)


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
        box = random.choice(BOX_CHOICES)
        failure: Exception | None = None
        size = 0
        started = time.perf_counter()
        try:
            rles = self._infer(image, box)
            taken = time.perf_counter() - started
            size = sum(len(rle["counts"]) for rle in rles)
            if problem := expected.problem(box, rles):
                failure = ValueError(problem)
        except Exception as error:  # Locust counts whatever went wrong.
            taken = time.perf_counter() - started
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=taken * 1e3,
            response_length=size,
            exception=failure,
        )

    def _infer(self, image: bytes, box: Box) -> list[Rle]:
        corners = np.array(box, np.float32).reshape(1, 2, 2)
        answer = self._triton.infer(
            "open_vocabulary_segmentation",
            [
                _tensor("image", np.array([image], np.object_), "BYTES"),
                _tensor("point_coords", corners, "FP32"),
                _tensor("point_labels", np.array([[2, 3]], np.int32), "INT32"),
            ],
            outputs=[triton.InferRequestedOutput(output) for output in ("counts", "size")],
            client_timeout=TIMEOUT_S,
        )
        size = answer.as_numpy("size").tolist()
        texts = answer.as_numpy("counts").ravel()
        return [{"size": size, "counts": text.decode("ascii")} for text in texts]


def _tensor(name: str, array: Any, datatype: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor
