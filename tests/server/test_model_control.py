"""Serving several models, and loading another one under load."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.server.service import Service
from tests.shared_service import shared_service

DATA = Path(__file__).parents[1] / "contract" / "data"
STANDIN_MODELS = DATA / "standin_models"
IMAGE = base64.b64encode((DATA / "images" / "base.jpg").read_bytes()).decode("ascii")
BOX = {"promptType": "box", "prompt": [[100, 100, 300, 300]]}
POINT = {"promptType": "point", "prompt": [[550, 350]]}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("SAM-H_box", "SAM-H_point"):
        install_paddlex_model([STANDIN_MODELS / name], folder, name)
    install_paddlex_model([STANDIN_MODELS / "SAM-H_box"], folder, "another")
    install_paddlex_model([STANDIN_MODELS / "SAM-H_box"], folder, "broken")
    (folder / "broken" / "box" / "inference.pdiparams").unlink()
    return folder


@pytest.fixture(scope="module")
def service(model_dir: Path) -> Iterator[Service]:
    """A box model and a point model at once."""
    settings = {
        "OVSEG_MODEL_DIR": str(model_dir),
        "OVSEG_MODEL": "SAM-H_box",
        "OVSEG_MODELS": "SAM-H_point",
    }
    with shared_service(settings) as running:
        yield running


def ask(service: Service, **fields: object) -> httpx.Response:
    return httpx.post(
        f"{service.base_url}/open-vocabulary-segmentation",
        json={"image": IMAGE, "visualize": False, **fields},
        timeout=60,
        trust_env=False,
    )


def ovseg(service: Service, model_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    port = service.grpc_address.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, "-m", "ovseg", *arguments],
        env={**os.environ, "OVSEG_GRPC_PORT": port, "OVSEG_MODEL_DIR": str(model_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_each_kind_of_prompt_finds_its_model(service: Service) -> None:
    for prompt in (BOX, POINT):
        answer = ask(service, **prompt)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["result"]["masks"]) == 1


def test_a_model_is_loaded_and_unloaded_under_load_and_no_request_is_lost(
    service: Service, model_dir: Path
) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def keep_asking() -> None:
        while not stop.is_set():
            statuses.append(ask(service, **BOX).status_code)

    assert ask(service, **BOX, model="another").status_code == 422
    callers = [threading.Thread(target=keep_asking) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        loaded = ovseg(service, model_dir, "load", "another")
        assert loaded.returncode == 0, loaded.stderr
        answer = ask(service, **BOX, model="another")
        assert answer.status_code == 200, answer.text
        unloaded = ovseg(service, model_dir, "unload", "another")
        assert unloaded.returncode == 0, unloaded.stderr
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert ask(service, **BOX, model="another").status_code == 422
    assert len(statuses) > 10
    assert set(statuses) == {200}


def test_a_model_that_cannot_be_loaded_is_one_line_and_the_others_go_on(
    service: Service, model_dir: Path
) -> None:
    failed = ovseg(service, model_dir, "load", "broken")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: cannot load broken: ")
    assert "inference.pdiparams is missing" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert ask(service, **BOX).status_code == 200


def test_a_model_that_is_not_installed_is_one_line(service: Service, model_dir: Path) -> None:
    failed = ovseg(service, model_dir, "load", "nothing")
    assert failed.returncode == 1
    assert "no model is installed" in failed.stderr


def test_the_default_model_cannot_be_unloaded(service: Service, model_dir: Path) -> None:
    refused = ovseg(service, model_dir, "unload", "SAM-H_box")
    assert refused.returncode == 1
    assert "OVSEG_MODEL" in refused.stderr


def test_a_named_model_that_is_not_served_names_the_field(service: Service) -> None:
    answer = ask(service, **BOX, model="nothing")
    (problem,) = json.loads(answer.json()["errorMsg"])
    assert problem["loc"] == "body.model"
    assert "SAM-H_box, SAM-H_point" in problem["msg"]
