"""A server that a pipeline starts: it is shared, replaced, and ends with its process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ovseg_client import create_pipeline
from ovseg_client.pipeline.server import ServerNotStartedError

import ovseg.embedded
from ovseg.embedded import EmbeddedServiceError, start_embedded_service
from ovseg.server.errors import ServerStartError
from tests.conftest import STANDIN_MODELS
from tests.pipeline.pipelines import NAME, areas, standin_config

END_TIMEOUT_S = 60.0


def process_of(pipeline: Any) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = pipeline._server._process._service._service.process
    return process


def test_one_server_is_shared_replaced_when_it_ended_and_stopped_with_the_last_pipeline(
    nothing_runs: None,
) -> None:
    pipeline = create_pipeline(NAME)
    first, expected = process_of(pipeline), areas(pipeline)

    with create_pipeline(NAME) as other:
        assert process_of(other) is first
        assert areas(other) == expected
    assert first.poll() is None

    first.send_signal(signal.SIGINT)  # as Ctrl-C in the same terminal does
    first.wait(END_TIMEOUT_S)
    assert areas(pipeline) == expected
    second = process_of(pipeline)
    assert second is not first

    pipeline.close()
    assert second.wait(END_TIMEOUT_S) == 0


def test_a_model_that_is_missing_is_said(
    nothing_runs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))

    with pytest.raises(ServerNotStartedError, match="SAM-H"):
        create_pipeline(NAME)
    with pytest.raises(ServerNotStartedError, match="nothing does not exist"):
        create_pipeline(
            config={
                "pipeline_name": NAME,
                "SubModules": {"BoxPromptSegmentation": {"model_dir": "nothing"}},
            }
        )


def test_the_first_use_of_the_bundled_model_is_said(
    nothing_runs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any) -> None:
        raise ServerStartError("not now")

    monkeypatch.setattr(ovseg.embedded, "running_service", start)
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    said: list[str] = []

    for model in ("SAM-H", "sam_mini"):
        monkeypatch.setenv("OVSEG_MODEL", model)
        with pytest.raises(EmbeddedServiceError, match="not now"):
            start_embedded_service(say=said.append)

    assert said == ["preparing the bundled model sam_mini, once (it takes a minute or two)"]


CONFIGURED_USER = """
import json, sys
import numpy as np
from ovseg_client import InvalidRequestError, create_pipeline

pipeline = create_pipeline(config=json.loads(sys.argv[1]))
box, point = [[5, 5, 30, 20]], [[20, 15]]
(result,) = pipeline.predict(np.zeros((30, 40, 3), np.uint8), prompt=point, prompt_type="point")
try:
    list(pipeline.predict(np.zeros((10, 101, 3), np.uint8), prompt=box))
    refusal = ""
except InvalidRequestError as error:
    refusal = str(error)
server = pipeline._server._process._service._service.process.pid
print(json.dumps([server, bool(result["masks"][0].any()), refusal]))
"""


def test_models_of_a_configuration_are_installed_once_and_served_until_the_process_ends(
    nothing_runs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("OVSEG_MAX_IMAGE_SIDE", "100")  # the environment's other settings hold
    user = subprocess.run(
        [sys.executable, "-c", CONFIGURED_USER, json.dumps(standin_config())],
        stdout=subprocess.PIPE,
        check=True,
    )
    # Nothing else is printed there: it is for results.
    server, has_mask, refusal = json.loads(user.stdout)

    assert has_ended(server)
    assert has_mask
    assert "100" in refusal
    (installed,) = (path.name for path in tmp_path.glob("pipeline-*"))

    def import_again(*_: Any, **__: Any) -> None:
        raise AssertionError("imported again")

    monkeypatch.setattr("ovseg.checkpoints.import_sources.import_sources", import_again)
    sources = [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"]
    assert ovseg.embedded._install(sources, ovseg.embedded.Settings(), print) == installed


def has_ended(server: int) -> bool:
    """Whether a process ends by itself; if not, it is ended."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while is_alive(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    ended = not is_alive(server)
    if not ended:
        os.kill(server, signal.SIGTERM)
    return ended


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
