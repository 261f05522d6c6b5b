"""`ovseg --pipeline …`, run as a command against the real service."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ovseg_client.pipeline.server
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ovseg.cli.main import app

Run = Callable[..., Any]
PREDICT = ("--pipeline", "open_vocabulary_segmentation", "--device", "cpu")


@pytest.fixture
def run(standin_service: Any) -> Iterator[Run]:
    runner = CliRunner(
        env={"COLUMNS": "200", "TERM": "dumb", "OVSEG_URL": standin_service.base_url}
    )
    logger = logging.getLogger("ovseg_client")
    before = (logger.level, logger.handlers)
    yield lambda *arguments, **options: runner.invoke(
        app, [str(argument) for argument in arguments], **options
    )
    logger.level, logger.handlers = before


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_it_prints_what_paddlex_prints(run: Run, photo: Path) -> None:
    result = run(
        *PREDICT, "--input", photo, "--prompt_type", "box", "--prompt", "[[20, 10, 120, 90.5]]"
    )

    assert result.exit_code == 0, result.output
    box = [20.0, 10.0, 120.0, 90.5]
    assert result.stdout == (
        f"{{'res': {{'input_path': '{photo}', 'prompts': {{'box_prompt': [{box}]}}, 'masks': '...',"
        f" 'mask_infos': [{{'label': 'box_prompt', 'prompt': {box}}}]}}}}\n"
    )


@pytest.mark.parametrize("point", ["[[50,60]]", "[[50.5,60]]", "[(50,60),(10,10)]"])
def test_it_saves_points_too_where_paddlex_fails(
    run: Run, photo: Path, tmp_path: Path, point: str
) -> None:
    out = tmp_path / "out"

    result = run(
        *PREDICT,
        *("--input", photo, "--prompt_type", "point", "--prompt", point, "--save_path", out),
    )

    assert result.exit_code == 0, result.output
    with Image.open(out / "photo_res.png") as picture:
        assert picture.size == (200, 150)
    saved = json.loads((out / "photo_res.json").read_text("utf-8"))
    assert np.array(saved["masks"]).shape == (max(point.count("("), 1), 150, 200)


def test_a_folder_gives_a_result_for_each_file(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(tmp_path / "another.jpg")

    result = run(*PREDICT, "--input", tmp_path, "--prompt", "[[20,10,120,90]]")

    assert result.exit_code == 0, result.output
    assert ["another.jpg" in line for line in result.stdout.splitlines()] == [True, False]


def test_a_yaml_file_names_the_pipeline(run: Run, photo: Path, tmp_path: Path) -> None:
    written = run("--get_pipeline_config", "open_vocabulary_segmentation", "--save_path", tmp_path)
    path = tmp_path / "open_vocabulary_segmentation.yaml"
    assert written.exit_code == 0, written.output

    result = run("--pipeline", path, "--input", photo, "--prompt", "[[20,10,120,90]]")

    assert result.exit_code == 0, result.output
    assert "photo.png" in result.stdout


def test_the_yaml_file_may_have_any_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "my.yml"

    result = run("--get_pipeline_config", "open_vocabulary_segmentation", "--save_path", path)

    assert result.exit_code == 0, result.output
    assert yaml.safe_load(path.read_text())["pipeline_name"] == "open_vocabulary_segmentation"


@pytest.mark.parametrize(("answer", "replaced"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_yaml_file_is_replaced_only_when_told(
    run: Run, tmp_path: Path, answer: str, replaced: bool
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("mine")

    run("--get_pipeline_config", "open_vocabulary_segmentation", "--save_path", path, input=answer)

    assert (path.read_text() != "mine") is replaced


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--pipeline", "x"], "--input"),
        (["--input", "x"], "--pipeline"),
        ([*PREDICT, "--input", __file__], "--prompt"),
        ([*PREDICT, "--input", "x", "--prompt", "[[1,2,3]]"], "such as [[150,12,300,150]]"),
        ([*PREDICT, "--input", "x", "--prompt", "1,2"], "such as"),
        ([*PREDICT, "--input", "x", "--prompt", "__import__('os')"], "such as"),
        (
            [*PREDICT, "--input", "x", "--prompt_type", "point", "--prompt", "[[1,2,3]]"],
            "such as [[225,80]]",
        ),
        ([*PREDICT, "--input", "x", "--prompt_type", "word", "--prompt", "[]"], "box or point"),
        (["--get_pipeline_config", "OCR"], "one pipeline here"),
        (["--input", "x", "config"], "does not go with `ovseg config`"),
    ],
)
def test_wrong_usage_says_what_is_right(run: Run, arguments: list[str], reason: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--pipeline", "OCR", "--input", __file__], "not 'OCR'"),
        (["--pipeline", "no.yaml", "--input", __file__], "no.yaml: No such file"),
        ([*PREDICT, "--input", "nothing.jpg"], "nothing.jpg: no such file or folder"),
        ([*PREDICT, "--input", __file__], "not an image in a supported format (JPEG, PNG"),
        ([*PREDICT, "--input", __file__, "--url", "http://127.0.0.1:1"], "refused"),
        ([*PREDICT, "--input", "http://127.0.0.1:1/a.jpg"], "http://127.0.0.1:1/a.jpg: "),
    ],
)
def test_failures_are_one_readable_message(run: Run, arguments: list[str], reason: str) -> None:
    result = run(*arguments, "--prompt", "[[1,2,30,40]]")

    assert result.exit_code == 1
    assert reason in result.output
    assert result.output.startswith("error: ")
    assert len(result.output.splitlines()) == 1


def test_the_server_is_looked_for_after_the_arguments_were_checked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_server(*_: Any) -> None:
        raise AssertionError("looked for a server")

    monkeypatch.setattr(ovseg_client.pipeline.pipeline, "find_server", find_server)

    assert run(*PREDICT, "--input", "nothing.jpg", "--prompt", "[[1,2,3,4]]").exit_code == 1
    assert run(*PREDICT, "--input", __file__, "--prompt", "[[1,2]]").exit_code == 2


def test_help_shows_paddlexs_options_and_the_sub_commands(run: Run) -> None:
    text = run("--help").output

    for word in ("--pipeline", "--prompt_type", "--get_pipeline_config", "serve", "predict"):
        assert word in text


def test_without_arguments_it_is_help(run: Run) -> None:
    assert "--get_pipeline_config" in run().output


def test_sub_commands_still_work(run: Run) -> None:
    assert "OVSEG_PORT" in run("config", "--json").output
    assert run("--version").output.startswith("ovseg ")
