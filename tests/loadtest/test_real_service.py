"""The real server under load: one encoding for concurrent requests, times of every stage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from csv import DictReader
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import orjson
import pytest
import tritonclient.grpc as triton
from pycocotools import mask as coco_mask

from ovseg.bench.breakdown import measure_breakdowns
from ovseg.bench.callers import GrpcCaller, RestCaller
from ovseg.bench.workload import SCENARIOS, Request, make_photo, unseen
from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO
from tests.loadtest.scripts import FOLDER
from tests.local_server import LocalServer

BOX = ((100.0, 100.0, 400.0, 400.0),)
TIMEOUT_S = 120.0


def encodings(service: Service) -> int:
    """How often the encoder has run, as Triton counts it."""
    with triton.InferenceServerClient(service.grpc_address) as client:
        stats = client.get_inference_statistics("sam_encoder").model_stats[0]
        return int(stats.execution_count)


def ask_together(service: Service, image: bytes, count: int) -> list[dict[str, float]]:
    """The times that concurrent requests for one image report."""

    def ask(_: int) -> dict[str, float]:
        caller = RestCaller(service.base_url)
        answer = caller.ask(Request(image, "box", BOX, picture=False), TIMEOUT_S)
        caller.close()
        assert answer.failure is None
        return answer.timings

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def test_concurrent_requests_for_one_new_image_encode_it_once(mini_service: Service) -> None:
    before = encodings(mini_service)
    timings = ask_together(mini_service, unseen(make_photo()), 8)

    assert encodings(mini_service) == before + 1
    assert sum("encoder" in timing for timing in timings) == 1
    assert any("wait" in timing for timing in timings)


def test_concurrent_requests_for_different_images_encode_each(mini_service: Service) -> None:
    before = encodings(mini_service)
    with ThreadPoolExecutor(3) as pool:
        for _ in pool.map(
            lambda image: ask_together(mini_service, image, 2),
            [unseen(make_photo()) for _ in range(3)],
        ):
            pass

    assert encodings(mini_service) == before + 3


def test_every_stage_has_its_time_and_a_cached_image_has_no_encoder_time(
    mini_service: Service,
) -> None:
    caller = RestCaller(mini_service.base_url)
    image = unseen(make_photo())
    new = caller.ask(Request(image, "box", BOX, picture=True), TIMEOUT_S).timings
    known = caller.ask(Request(image, "box", BOX, picture=False), TIMEOUT_S).timings
    caller.close()

    stages = {"preprocess", "encoder", "decoder", "rle", "drawing"}
    assert stages | {"json", "base64", "queue", "answer", "total"} <= new.keys()
    assert stages & known.keys() == {"decoder", "rle"}
    for timing in (new, known):
        parts = sum(value for name, value in timing.items() if name != "total")
        assert all(value >= 0 for value in timing.values())
        assert parts <= timing["total"] * 1.01 + 0.1


def test_both_protocols_give_the_same_masks_to_the_benchmark(mini_service: Service) -> None:
    rest, grpc = RestCaller(mini_service.base_url), GrpcCaller(mini_service.grpc_address)
    request = SCENARIOS[4].request(make_photo())
    assert request.picture
    answers = [rest.ask(request, TIMEOUT_S), grpc.ask(request, TIMEOUT_S)]
    rest.close()
    grpc.close()

    assert [answer.failure for answer in answers] == [None, None]
    assert answers[0].rles == answers[1].rles
    assert len(answers[0].rles) == 3


def test_the_breakdown_covers_all_scenarios(mini_service: Service) -> None:
    found = measure_breakdowns(mini_service, 1, lambda _line: None)

    assert [one.scenario for one in found] == [scenario.name for scenario in SCENARIOS]
    assert "encoder" in found[0].parts
    assert all("encoder" not in one.parts for one in found[1:])
    assert all(0 < one.rest_overhead < one.rest_total for one in found)
    assert all(0 < one.grpc_overhead < one.grpc_total for one in found)


def run_locust(folder: Path, host: str, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """A few seconds of load; the exit code and the report's rows by name."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(FOLDER / "locustfile.py"), "--headless"),
            *("--only-summary", "--host", host, "--csv", str(folder / "report")),
            *("--html", str(folder / "report.html")),
        ],
        env={**os.environ, "LOADTEST_TIME": "8s", "LOADTEST_USERS": "4", **variables},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (folder / "report.html").exists(), done.stderr[-2000:]
    with (folder / "report_stats.csv").open() as file:
        return done.returncode, {row["Name"]: row for row in DictReader(file)}


def test_locust_finds_nothing_wrong_with_the_real_server(
    mini_service: Service, tmp_path: Path
) -> None:
    _, _, port = mini_service.grpc_address.rpartition(":")
    code, rows = run_locust(tmp_path, mini_service.base_url, OVSEG_GRPC_PORT=port)

    assert code == 0
    assert rows["Aggregated"]["Failure Count"] == "0"
    assert int(rows["REST next prompt"]["Request Count"]) > 0
    assert int(rows["gRPC next prompt"]["Request Count"]) > 0


class WrongMasks(BaseHTTPRequestHandler):
    """Gives the right masks while it is idle, and others afterwards."""

    protocol_version = "HTTP/1.1"
    answers = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        mask = np.zeros((30, 30), np.uint8)
        # Three boxes are learned first.
        mask[:, : 10 if WrongMasks.answers < 3 else 20] = 1
        WrongMasks.answers += 1
        rle = coco_mask.encode(np.asfortranarray(mask))
        masks = [{"size": rle["size"], "counts": rle["counts"].decode("ascii")}]
        body = orjson.dumps({"errorCode": 0, "result": {"masks": masks}})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wrong_server() -> Iterator[str]:
    with LocalServer(WrongMasks) as server:
        yield server.url


def test_locust_counts_wrong_masks_and_dead_servers_as_failures(
    wrong_server: str, tmp_path: Path
) -> None:
    # Nothing listens for gRPC there.
    code, rows = run_locust(
        tmp_path,
        wrong_server,
        LOADTEST_TIME="6s",
        OVSEG_GRPC_PORT="1",
        LOADTEST_IMAGE=str(EXAMPLE_PHOTO),
    )

    assert code == 1
    for row in rows.values():
        assert row["Failure Count"] == row["Request Count"] != "0"
