"""Load test: REST and gRPC users, most on one hot image, in steps from one user to all.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8080

`make loadtest` runs it against a server that `make serve` started; see README.md. An answer counts
as a success only if its mask is the one that the idle server gave before the test.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.experimental.gevent
import httpx
from expected_masks import Box, ExpectedMasks, Rle
from locust import HttpUser, LoadTestShape, User, constant, events, task
from locust.util.timespan import parse_timespan

from ovseg.bench.callers import ROUTE, GrpcCaller
from ovseg.bench.workload import Request, unseen
from ovseg.demo import BOXES
from ovseg.settings import EXAMPLE_PHOTO, get_settings

# gRPC's own threads would block gevent's loop.
grpc.experimental.gevent.init_gevent()

JSON_HEADERS = {"Content-Type": "application/json"}
HOT_IMAGE = Path(os.environ.get("LOADTEST_IMAGE", EXAMPLE_PHOTO)).read_bytes()
USERS = int(os.environ.get("LOADTEST_USERS", "8"))
DURATION_S = parse_timespan(os.environ.get("LOADTEST_TIME", "1m"))
RAMP = (0.0, 0.25, 0.5, 1.0)
"""Share of the users in each step; each takes the same time, the first has one user."""
HOT_WEIGHT, NEW_WEIGHT = 4, 1
TIMEOUT_S = 120.0
BOX_CHOICES: list[Box] = [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in BOXES]

expected = ExpectedMasks()
logger = logging.getLogger(__name__)


def one_box(image: bytes, box: Box) -> Request:
    """A request for the mask of one box, without a picture."""
    return Request(image, "box", (box,), picture=False)


@events.test_start.add_listener
def learn_masks(environment: Any, **_: Any) -> None:
    """Ask the idle server for the masks that it must give under load."""

    def ask(box: Box) -> Sequence[Rle]:
        answer = httpx.post(
            environment.host + ROUTE,
            content=one_box(HOT_IMAGE, box).body(),
            headers=JSON_HEADERS,
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
        self._segment("REST new image", unseen(HOT_IMAGE))

    def _segment(self, name: str, image: bytes) -> None:
        box = random.choice(BOX_CHOICES)
        with self.client.post(
            ROUTE,
            data=one_box(image, box).body(),
            headers=JSON_HEADERS,
            name=name,
            timeout=TIMEOUT_S,
            catch_response=True,
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
        self._caller = GrpcCaller(get_settings().triton_grpc_address)

    def on_stop(self) -> None:
        """Disconnect."""
        self._caller.close()

    @task(HOT_WEIGHT)
    def next_prompt(self) -> None:
        """Another box on an image that the server knows."""
        self._segment("gRPC next prompt", HOT_IMAGE)

    @task(NEW_WEIGHT)
    def first_prompt(self) -> None:
        """A box on an image that the server has to encode."""
        self._segment("gRPC new image", unseen(HOT_IMAGE))

    def _segment(self, name: str, image: bytes) -> None:
        box = random.choice(BOX_CHOICES)
        answer = self._caller.ask(one_box(image, box), TIMEOUT_S)
        problem = answer.failure or expected.problem(box, answer.rles)
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=answer.seconds * 1e3,
            response_length=sum(len(rle["counts"]) for rle in answer.rles),
            exception=ValueError(problem) if problem else None,
        )
