"""Calls say which image they are about, and get round one of several Tritons that is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from ovseg_gateway.app import create_app
from ovseg_gateway.routes_to_replicas import METADATA
from tritonclient.utils import InferenceServerException

from ovseg.settings import Settings
from tests.gateway.conftest import StartGateway, served
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import IMAGE, PATH, body
from tests.gateway.requests import IMAGE_ID as ROUTE


@dataclass
class TwoTritons(FakeTriton):
    """Two replicas behind a load balancer, the first of which crashes at every inference."""

    broken: set[str] = field(default_factory=lambda: {"first"})
    replica_of: dict[str, str] = field(default_factory=lambda: {ROUTE: "first"})
    """By the route; new routes lead to them in turn, to the first one first."""
    admits_it: bool = False
    """Whether a broken replica says that it is not ready."""
    asked: list[str] = field(default_factory=list)
    """Replicas, for each inference."""

    def _replica(self, headers: dict[str, str]) -> str:
        turn = ("first", "second")[sum(route != ROUTE for route in self.replica_of) % 2]
        return self.replica_of.setdefault(headers[METADATA], turn)

    async def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        self.asked.append(self._replica(options["headers"]))
        if self.asked[-1] in self.broken:
            raise InferenceServerException(
                "Stub process is not healthy", status="StatusCode.INTERNAL"
            )
        return await super().infer(model_name, inputs, **options)

    async def is_model_ready(
        self,
        model_name: str,
        *,
        headers: dict[str, str] | None = None,
        client_timeout: float | None = None,
    ) -> bool:
        assert headers is not None
        return not (self.admits_it and self._replica(headers) in self.broken)


@contextmanager
def gateway(tritons: TwoTritons, **settings: Any) -> Iterator[httpx.Client]:
    app = create_app(Settings(**settings), client=tritons)
    with served(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        yield http


def test_the_route_of_an_inference_is_the_digest_of_the_image(
    http: httpx.Client, triton: FakeTriton
) -> None:
    http.post(PATH, json=body()).raise_for_status()
    one = triton.last.options["headers"]
    everything = {"image": IMAGE, "promptType": "everything"}
    http.post(PATH, json=everything).raise_for_status()
    other = triton.last.options["headers"]

    assert one == other == {METADATA: ROUTE}


def test_what_a_caller_calls_an_image_does_not_choose_the_replica(
    http: httpx.Client, triton: FakeTriton
) -> None:
    http.post(PATH, json=body(imageId="0" * 64), headers={METADATA: "x"}).raise_for_status()

    assert triton.last.options["headers"] == {METADATA: ROUTE}


@pytest.mark.parametrize("admits_it", [True, False])
def test_a_request_goes_on_to_a_replica_that_works(admits_it: bool) -> None:
    tritons = TwoTritons(admits_it=admits_it)
    with gateway(tritons) as http:
        answer = http.post(PATH, json=body())

    assert answer.status_code == 200
    assert tritons.asked[0] == "first"
    assert tritons.asked[-2:] == ["second", "second"]  # The probe, and the request.


def test_a_request_that_ends_two_replicas_is_refused() -> None:
    tritons = TwoTritons(broken={"first", "second"})
    with gateway(tritons, recovery_wait_s=0.5) as http:
        answer = http.post(PATH, json=body())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("admits_it", [True, False])
def test_one_broken_replica_does_not_make_the_gateway_unready(admits_it: bool) -> None:
    tritons = TwoTritons(admits_it=admits_it)
    with gateway(tritons) as http:
        ready = http.get("/health/ready")
        tritons.broken.add("second")
        tritons.admits_it = True
        none_left = http.get("/health/ready")

    assert (ready.status_code, none_left.status_code) == (200, 503)


def test_readiness_asks_several_replicas(start_gateway: StartGateway, triton: FakeTriton) -> None:
    triton.ready = False
    with start_gateway() as http:
        http.get("/health/ready")

    routes = [headers and headers[METADATA] for headers in triton.readiness_routes]
    assert None not in routes
    assert len(set(routes)) == len(routes) == 3
