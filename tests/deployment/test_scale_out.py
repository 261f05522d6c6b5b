"""deploy/scale-out: nginx with that configuration, in front of stand-ins and of a real Triton."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
import tritonclient.grpc as triton
from ovseg_gateway.app import create_app
from ovseg_gateway.routes_to_replicas import METADATA
from tritonclient.grpc import service_pb2, service_pb2_grpc

from loadtest.cluster import CONFIGURATION, Balancer, find_nginx
from loadtest.soak.exchanges import JSON_HEADERS
from ovseg.bench.workload import Request, make_photo, prompt_rows, unseen
from ovseg.server.ports import free_ports
from ovseg.server.service import Service
from ovseg.settings import Settings
from tests.deployment.fake_replicas import FakeReplica
from tests.gateway.conftest import served
from tests.gateway.requests import PATH

NGINX = find_nginx()
needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="there is no nginx (Debian's package nginx-light, or $NGINX) here"
)
TEXT = (CONFIGURATION / "nginx.conf").read_text("utf-8")
BOUND = 2
IMAGES = [sha256(bytes([k])).hexdigest() for k in range(200)]


def number(pattern: str, text: str = TEXT) -> int:
    (found,) = re.findall(pattern, text)
    return int(found)


def test_the_configuration_agrees_with_the_settings() -> None:
    default = {name: field.default for name, field in Settings.model_fields.items()}

    assert f"$http_{METADATA.replace('-', '_')}" in TEXT
    assert number(r"listen (\d+) http2;") == default["grpc_port"]
    assert number(r"listen (\d+);") == default["port"]
    assert number(r"keepalive_timeout (\d+)s;") < default["keep_alive_s"]
    assert number(r"client_max_body_size (\d+)m;") * 2**20 >= default["max_body_bytes"]
    for hop in ("grpc", "proxy"):
        longest = max(default["request_timeout_s"], default["everything_timeout_s"])
        assert number(rf"{hop}_read_timeout (\d+)s;") > longest


def test_the_servers_have_the_default_ports_and_the_bound_of_the_formula() -> None:
    tritons = (CONFIGURATION / "tritons.conf").read_text("utf-8")
    gateways = (CONFIGURATION / "gateways.conf").read_text("utf-8")
    default = Settings.model_fields

    addresses = re.findall(r"^server triton-\d:(\d+)", tritons, re.MULTILINE)
    assert set(map(int, addresses)) == {default["grpc_port"].default}
    others = re.findall(r"^server gateway-\d:(\d+)", gateways, re.MULTILINE)
    assert set(map(int, others)) == {default["port"].default}
    running = number(r"Here: \d+ x \((\d+) \+ 1\)", tritons)
    bounds = set(re.findall(r"^server .* max_conns=(\d+) ", tritons, re.MULTILINE))
    assert bounds == {str(-(-len(others) * (running + 1) // (len(addresses) - 1)))}


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    assert NGINX is not None
    with Balancer(NGINX, BOUND) as balancer:
        yield balancer


@pytest.fixture
def replicas(balancer: Balancer) -> Iterator[dict[str, FakeReplica]]:
    """Three behind nginx and a fourth that it does not know, by their addresses."""
    with ExitStack() as stack:
        found = [FakeReplica() for _ in range(4)]
        for replica in found:
            stack.callback(replica.stop)
        balancer.tritons = [replica.address for replica in found[:3]]
        balancer.apply()
        yield {replica.address: replica for replica in found}


@needs_nginx
def test_nginx_accepts_the_configuration(balancer: Balancer) -> None:
    balancer.tritons = ["127.0.0.1:1", "127.0.0.1:2"]

    assert "test is successful" in balancer.check()


@needs_nginx
def test_an_image_stays_and_only_those_of_a_new_or_dead_replica_move(
    balancer: Balancer, replicas: dict[str, FakeReplica]
) -> None:
    *old, new = replicas
    first, again = balancer.owners(IMAGES), balancer.owners(IMAGES)
    assert first == again
    assert set(first.values()) == set(old)
    assert min(Counter(first.values()).values()) > len(IMAGES) / 10

    balancer.tritons.append(new)
    balancer.apply()
    added = balancer.owners(IMAGES)
    moved = [image for image in IMAGES if added[image] != first[image]]
    assert {added[image] for image in moved} == {new}
    assert len(moved) < len(IMAGES) / 2

    replicas[old[0]].stop()
    without = balancer.owners(IMAGES)
    assert old[0] not in without.values()
    assert [k for k in IMAGES if without[k] != added[k]] == [
        k for k in IMAGES if added[k] == old[0]
    ]


@needs_nginx
def test_calls_without_an_image_go_to_all(
    balancer: Balancer, replicas: dict[str, FakeReplica]
) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{balancer.grpc_port}") as client:
        for _ in range(60):
            assert client.is_model_ready("any")

    assert all(replicas[address].inside for address in balancer.tritons)


@needs_nginx
def test_one_image_never_takes_more_of_a_replica_than_the_bound(
    balancer: Balancer, replicas: dict[str, FakeReplica]
) -> None:
    for replica in replicas.values():
        replica.gate.clear()

    def ask(_: int) -> bool:
        with triton.InferenceServerClient(f"127.0.0.1:{balancer.grpc_port}") as client:
            return bool(client.is_model_ready("any", headers={METADATA: IMAGES[0]}))

    calls = 2 * BOUND + 1
    with ThreadPoolExecutor(calls) as pool:
        answers = pool.map(ask, range(calls))
        deadline = time.monotonic() + 30
        while sum(r.inside for r in replicas.values()) < calls and time.monotonic() < deadline:
            time.sleep(0.02)
        inside = sorted(replica.inside for replica in replicas.values())
        for replica in replicas.values():
            replica.gate.set()
        assert all(answers)

    assert inside == [0, 1, BOUND, BOUND]


@needs_nginx
def test_large_messages_go_through_both_ways(
    balancer: Balancer, replicas: dict[str, FakeReplica]
) -> None:
    content = bytes(range(256)) * (40 * 2**20 // 256)
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{balancer.grpc_port}", options=unlimited) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="any", raw_input_contents=[content])
        answer = stub.ModelInfer(request, timeout=60, metadata=((METADATA, IMAGES[0]),))

    assert answer.raw_output_contents == [content]


@needs_nginx
def test_a_gateway_answers_through_it_while_another_triton_is_dead(
    balancer: Balancer, mini_service: Service
) -> None:
    (dead,) = free_ports(1)
    balancer.tritons = [f"127.0.0.1:{dead}", mini_service.grpc_address]
    balancer.apply()
    app = create_app(Settings(grpc_url=f"127.0.0.1:{balancer.grpc_port}", recovery_wait_s=60))
    rows = prompt_rows("box", 1)
    bodies = [Request(unseen(make_photo()), "box", rows, False).body() for _ in range(4)]
    with served(app) as url:
        balancer.gateways = [url.removeprefix("http://")]
        balancer.apply()
        whole = f"http://127.0.0.1:{balancer.rest_port}"
        with httpx.Client(base_url=whole, timeout=120, trust_env=False) as http:
            answers = [http.post(PATH, content=body, headers=JSON_HEADERS) for body in bodies]
            ready = http.get("/health/ready")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert ready.status_code == 200
    assert all(answer.json()["result"]["masks"] for answer in answers)
    dead_was_tried = (balancer.folder / "routes.log").read_text("ascii").count(f":{dead},")
    assert dead_was_tried
