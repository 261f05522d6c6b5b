"""Names, YAML files and dictionaries that `create_pipeline` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ovseg_client import create_pipeline
from ovseg_client.pipeline.config import DEFAULT_YAML, PIPELINE_NAME, load_config


def modules(box: Any, point: Any) -> dict[str, Any]:
    return {
        "pipeline_name": PIPELINE_NAME,
        "SubModules": {
            "BoxPromptSegmentation": {"model_name": "SAM-H_box", "model_dir": box},
            "PointPromptSegmentation": {"model_name": "SAM-H_point", "model_dir": point},
        },
    }


def test_the_name_needs_no_models() -> None:
    assert load_config(PIPELINE_NAME, None).model_dirs == ()


def test_the_file_that_is_written_is_one_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yml"
    path.write_text(DEFAULT_YAML, "utf-8")

    assert load_config(str(path), None).model_dirs == ()


def test_the_file_has_paddlexs_keys_and_values() -> None:
    def module(kind: str) -> dict[str, Any]:
        return {
            "module_name": f"{kind}_prompt_segmentation",
            "model_name": f"SAM-H_{kind}",
            "model_dir": None,
            "batch_size": 1,
        }

    # As PaddleX 3.7.2 writes it.
    assert yaml.safe_load(DEFAULT_YAML) == {
        "pipeline_name": PIPELINE_NAME,
        "SubModules": {
            "BoxPromptSegmentation": module("box"),
            "PointPromptSegmentation": module("point"),
        },
    }


@pytest.mark.parametrize(
    ("box", "point", "folders"),
    [
        ("a", "b", ["a", "b"]),
        ("a", "a", ["a"]),
        ("a", None, ["a"]),
        (None, "b", ["b"]),
        ("None", "", []),
    ],
)
def test_models_are_those_that_are_named(box: Any, point: Any, folders: list[str]) -> None:
    config = load_config(None, modules(box, point))

    assert config.model_dirs == tuple(map(Path, folders))


def test_a_config_comes_before_the_name() -> None:
    assert load_config(PIPELINE_NAME, modules("a", None)).model_dirs == (Path("a"),)


@pytest.mark.parametrize(
    ("pipeline", "config", "reason"),
    [
        (None, None, "give the pipeline's name"),
        ("OCR", None, "not 'OCR'"),
        (None, {"pipeline_name": "OCR"}, "not 'OCR'"),
        (None, {}, "not None"),
        (None, ["pipeline_name"], "mapping"),
        (None, {"pipeline_name": PIPELINE_NAME, "SubModules": ["a"]}, "`SubModules`"),
    ],
)
def test_other_configurations_are_refused(pipeline: Any, config: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_config(pipeline, config)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"text"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)

    with pytest.raises(ValueError, match="pipeline"):
        load_config(str(path), None)


def test_a_missing_file_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        create_pipeline("nothing.yaml")


def test_an_option_that_nobody_has_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="devise"):
        create_pipeline(PIPELINE_NAME, url="http://127.0.0.1:1", devise="cpu")
