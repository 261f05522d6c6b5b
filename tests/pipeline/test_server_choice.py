"""Which server a pipeline asks: a named one, one that runs already, or one that it starts."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import ConnectionFailedError, InvalidRequestError, create_pipeline
from ovseg_client.pipeline import server as choice
from ovseg_client.pipeline.server import ServerNotStartedError

import ovseg.embedded
from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.embedded import EmbeddedServiceError, start_embedded_service
from ovseg.server.errors import ServerStartError
from ovseg.server.ports import free_ports
from tests.conftest import STANDIN_MODELS

NAME = "open_vocabulary_segmentation"
ARRAY = np.zeros((30, 40, 3), np.uint8)
BOX = [[5, 5, 30, 20]]
END_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with the stand-in models, as the model SAM-H."""
    folder = tmp_path_factory.mktemp("models")
    install_paddlex_model(
        [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"], folder, "SAM-H"
    )
    return folder


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, model_dir: Path) -> None:
    """Settings at whose address nothing answers."""
    monkeypatch.delenv("OVSEG_URL", raising=False)
    monkeypatch.setenv("OVSEG_PORT", str(free_ports(1)[0]))
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model_dir))
    monkeypatch.setenv("OVSEG_MODEL", "SAM-H")


@pytest.fixture
def nothing_may_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(ovseg.embedded, "start_embedded_service", start)


def process_of(pipeline: Any) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = pipeline._server._process._service._service.process
    return process


def areas(pipeline: Any) -> list[int]:
    (result,) = pipeline.predict(input=ARRAY, prompt=BOX)
    return [int(mask.sum()) for mask in result["masks"]]


@pytest.mark.usefixtures("nothing_runs", "nothing_may_start")
def test_a_named_server_is_asked(standin_service: Any) -> None:
    with create_pipeline(NAME, url=standin_service.base_url) as pipeline:
        assert len(areas(pipeline)) == 1


@pytest.mark.usefixtures("nothing_runs", "nothing_may_start")
def test_the_environment_may_name_the_server(
    standin_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_URL", f"grpc://{standin_service.grpc_address}")

    with create_pipeline(NAME) as pipeline:
        assert len(areas(pipeline)) == 1


@pytest.mark.usefixtures("nothing_may_start")
def test_a_server_that_runs_at_the_settings_address_is_asked(
    standin_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OVSEG_URL", raising=False)
    monkeypatch.setenv("OVSEG_PORT", standin_service.base_url.rpartition(":")[2])

    with create_pipeline(NAME) as pipeline:
        assert len(areas(pipeline)) == 1


@pytest.mark.usefixtures("nothing_runs")
def test_the_client_alone_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_can_start", lambda: False)
    monkeypatch.setattr(choice, "DEFAULT_ADDRESS", "http://127.0.0.1:1")

    with pytest.raises(ConnectionFailedError, match=r"OVSEG_URL.*install the package ovseg"):
        create_pipeline(NAME)
    with pytest.raises(ConnectionFailedError, match="model_dir needs the package ovseg"):
        create_pipeline(config=standin_config())


def standin_config() -> dict[str, Any]:
    return {
        "pipeline_name": NAME,
        "SubModules": {
            f"{kind}PromptSegmentation": {"model_dir": f"{STANDIN_MODELS}/SAM-H_{kind.lower()}"}
            for kind in ("Box", "Point")
        },
    }


def test_a_named_servers_models_are_its_own(standin_service: Any, caplog: Any) -> None:
    with create_pipeline(config=standin_config(), url=standin_service.base_url):
        assert "model_dir is ignored" in caplog.text


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"device": "gpu:0"}, ["device='gpu:0'"]),
        ({"engine": "paddle", "pp_option": object()}, ["engine, pp_option"]),
        ({"device": "cpu", "use_hpip": False, "hpi_config": None}, []),
    ],
)
def test_what_the_server_decides_is_accepted_with_a_warning(
    options: dict[str, Any], warned: list[str], caplog: Any
) -> None:
    with (
        caplog.at_level(logging.WARNING, "ovseg_client"),
        create_pipeline(NAME, url="http://127.0.0.1:1", **options),
    ):
        pass

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        text.partition(":")[0] for text in warned
    ]


def test_a_refused_input_is_named_in_a_note(standin_service: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")

    with (
        create_pipeline(NAME, url=standin_service.base_url) as pipeline,
        pytest.raises(InvalidRequestError) as caught,
    ):
        list(pipeline.predict(input=[ARRAY, tmp_path / "a.jpg"], prompt=BOX))

    assert caught.value.__notes__ == [f"input: {tmp_path / 'a.jpg'}"]


def test_prompts_are_checked_before_any_input_is_read() -> None:
    with create_pipeline(NAME, url="http://127.0.0.1:1") as pipeline:
        for prompt, kind in (([[1, 2, 3]], "box"), ([[1, float("nan")]], "point"), ("ab", "box")):
            with pytest.raises(ValueError, match=r"boxes|points"):
                pipeline.predict(input="nothing.jpg", prompt=prompt, prompt_type=kind)


def test_one_row_may_come_without_its_list(standin_service: Any) -> None:
    with create_pipeline(NAME, url=standin_service.base_url) as pipeline:
        (result,) = pipeline.predict(input=ARRAY, prompt=np.array(BOX[0]))

    assert result["prompts"] == {"box_prompt": BOX}
    assert len(result["masks"]) == 1


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
    time.sleep(0.3)
    first.send_signal(signal.SIGINT)  # so that it takes its time over nothing
    first.wait(END_TIMEOUT_S)
    assert areas(pipeline) == expected
    second = process_of(pipeline)
    assert second is not first

    pipeline.close()
    assert second.wait(END_TIMEOUT_S) == 0


USER = """
import time
from ovseg_client import create_pipeline

pipeline = create_pipeline("open_vocabulary_segmentation")
print(pipeline._server._process._service._service.process.pid, flush=True)
time.sleep(600)
"""


def test_the_server_ends_with_the_process_that_needed_it_when_that_is_killed(
    nothing_runs: None,
) -> None:
    user = subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    server = int(user.stdout.readline())
    user.kill()
    user.wait(END_TIMEOUT_S)
    user.stdout.close()

    assert has_ended(server)


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
