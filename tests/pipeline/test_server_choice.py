"""Which server a pipeline asks: a named one, or one that runs already."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import ConnectionFailedError, InvalidRequestError, create_pipeline
from ovseg_client.pipeline import server as choice

import ovseg.embedded
from tests.pipeline.pipelines import ARRAY, BOX, NAME, areas, standin_config


@pytest.fixture
def nothing_may_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(ovseg.embedded, "start_embedded_service", start)


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
