"""The picture of the architecture is that of the configurations in model_repository/."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from ovseg.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "draw_architecture", PROJECT_ROOT / "docs" / "draw_architecture.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Its dataclasses look themselves up there.
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_current(drawing: ModuleType) -> None:
    assert drawing.PICTURE.read_text("utf-8") == drawing.draw(drawing.read_pipeline()), (
        "run: .venv/bin/python docs/draw_architecture.py"
    )


def test_it_shows_every_model_and_every_tensor_of_the_ensemble(drawing: ModuleType) -> None:
    pipeline = drawing.read_pipeline()
    root = ElementTree.fromstring(drawing.PICTURE.read_text("utf-8"))
    texts = {
        "".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")
    }

    models = {
        path.parent.name for path in (PROJECT_ROOT / "model_repository").glob("*/config.pbtxt")
    }
    assert models - {"embed"} <= texts
    assert any(text.startswith("embed: response cache") for text in texts)
    assert {tensor.name for tensor in pipeline.tensors} <= texts
    assert {"low_res_masks", "original_size", "point_coords", "overlay"} <= texts


def test_a_changed_configuration_changes_the_picture(drawing: ModuleType, tmp_path: Path) -> None:
    for file in drawing.REPOSITORY.glob("*/config.pbtxt"):
        text = file.read_text("utf-8")
        if file.parent.name == "open_vocabulary_segmentation":
            text = text.replace('input_map { key: "mask_scores" value: "mask_scores" }', "")
        (tmp_path / file.parent.name).mkdir()
        (tmp_path / file.parent.name / file.name).write_text(text, "utf-8")

    assert drawing.draw(drawing.read_pipeline(tmp_path)) != drawing.PICTURE.read_text("utf-8")


def test_the_document_shows_it() -> None:
    assert "(images/architecture.svg)" in (PROJECT_ROOT / "docs/ARCHITECTURE.md").read_text("utf-8")
