"""Our pipeline does what PaddleX 3.7.2's did, recorded on the same stand-in models.

`tests/peer/compare_pipeline.py` made the recording, and compares with PaddleX itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ovseg_client import create_pipeline

from tests.peer.pipeline_cases import CASES, make_inputs
from tests.peer.pipeline_differences import EXPECTED, find_differences
from tests.peer.pipeline_session import run_case

RECORDED = json.loads((Path(__file__).parent / "data" / "paddlex_results.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(standin_service: Any) -> Iterator[Any]:
    with create_pipeline(
        pipeline="open_vocabulary_segmentation", url=standin_service.base_url
    ) as pipeline:
        yield pipeline


def test_every_case_is_recorded() -> None:
    assert list(RECORDED) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_it_gives_prints_and_saves_what_paddlex_does(
    name: str, pipeline: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)

    mine = run_case(pipeline, CASES[name], tmp_path)

    expected, _ = EXPECTED.get(name, (set(), ""))
    assert find_differences(RECORDED[name], mine) == expected


def test_where_paddlex_fails_files_are_saved(
    pipeline: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)

    record = run_case(pipeline, CASES["a point with a fraction"], tmp_path)

    assert record["files"].keys() == {"photo_res.jpg", "photo_res.json"}
    assert record["results"][0]["save_error"] is None


def test_each_page_has_files_of_its_own(
    pipeline: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)

    record = run_case(pipeline, CASES["a PDF of two pages"], tmp_path)

    # PaddleX renders with two pixels a point; the second page is the first one turned.
    assert record["files"]["pages_0_res.png"]["picture"] == ["PNG", "RGB", [80, 60]]
    assert record["files"]["pages_1_res.png"]["picture"] == ["PNG", "RGB", [60, 80]]
    assert record["files"].keys() >= {"pages_0_res.json", "pages_1_res.json"}


def test_json_files_are_a_fraction_of_paddlexs(
    pipeline: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)

    record = run_case(pipeline, CASES["boxes"], tmp_path)

    peers = RECORDED["boxes"]["files"]["photo_res.json"]["bytes"]
    assert record["files"]["photo_res.json"]["bytes"] < peers / 6
