"""Export to PaddleX's format: the same masks, in the form that PaddleX reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from msgspec.structs import replace
from numpy.typing import NDArray
from paddle import inference

from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.exporting.errors import ExportError
from ovseg.exporting.export_model import export_model
from ovseg.manifest import PIXEL_MEAN, PIXEL_STD, ModelManifest, PromptKind
from ovseg.stages.encoder import NormalizingImageEncoder
from ovseg.stages.image import resize_longest_side
from ovseg.stages.prompts import Prompts
from tests.served import BOXES, PHOTO, POINTS, ServedModel
from tests.small_model import SMALL, install_small_model

SIDE = SMALL.input_size


@pytest.fixture(scope="module")
def served(small_model: Path) -> ServedModel:
    return ServedModel(small_model)


def run_exported(folder: Path, prompts: NDArray[np.float32]) -> NDArray[np.float32]:
    """What PaddleX does: normalise, pad, run; prompts are in the model's input frame."""
    pixels, input_size = resize_longest_side(PHOTO, SIDE)
    images = NormalizingImageEncoder(PIXEL_MEAN, PIXEL_STD).encode(
        pixels[None], np.array([input_size], np.int32)
    )
    # PaddleX's settings (its PaddleStaticRunner), not those of our engine: other passes run.
    config = inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_new_ir(True)
    config.enable_new_executor()
    config.set_optimization_level(3)
    config.enable_memory_optim()
    predictor = inference.create_predictor(config)
    predictor.get_input_handle("images").copy_from_cpu(images)
    predictor.get_input_handle("prompts").copy_from_cpu(prompts)
    predictor.run()
    masks: NDArray[np.float32] = predictor.get_output_handle(
        predictor.get_output_names()[0]
    ).copy_to_cpu()
    return masks


def test_boxes_get_the_masks_of_the_service(exported_model: Path, served: ServedModel) -> None:
    boxes = BOXES.scaled(PHOTO.shape[:2], SIDE).coords.reshape(-1, 4)
    masks = run_exported(exported_model / "SAM-H_box", boxes)
    expected = served.decode(served.embed(), BOXES)
    np.testing.assert_allclose(masks, expected, atol=1e-5)
    assert served.rles(masks) == served.rles(expected)
    assert 0.05 < (expected > 0).mean() < 0.95, "the masks must be something to compare"


def test_points_get_the_masks_of_the_service(exported_model: Path, served: ServedModel) -> None:
    points = POINTS.scaled(PHOTO.shape[:2], SIDE).coords
    masks = np.concatenate(
        [run_exported(exported_model / "SAM-H_point", point[None]) for point in points]
    )
    expected = served.decode(served.embed(), POINTS)
    np.testing.assert_allclose(masks, expected, atol=1e-5)
    assert served.rles(masks) == served.rles(expected)


def test_several_points_mark_one_object(exported_model: Path, served: ServedModel) -> None:
    points = Prompts(POINTS.coords.reshape(1, 2, 2), np.ones((1, 2), np.int32))
    masks = run_exported(
        exported_model / "SAM-H_point", points.scaled(PHOTO.shape[:2], SIDE).coords
    )
    np.testing.assert_allclose(masks, served.decode(served.embed(), points), atol=1e-5)


@pytest.mark.parametrize("kind", ["box", "point"])
def test_the_processor_settings_are_those_of_the_model(exported_model: Path, kind: str) -> None:
    text = (exported_model / f"SAM-H_{kind}" / "inference.yml").read_text("utf-8")
    settings = yaml.safe_load(text)
    assert settings["Global"] == {"model_name": f"SAM-H_{kind}"}
    assert settings["Processor"]["type"] == "SAMProcessor"
    assert settings["Processor"]["size"] == SIDE
    assert settings["Processor"]["mean"] == list(PIXEL_MEAN)


def test_paddlex_finds_the_image_first_when_it_sorts_the_inputs(exported_model: Path) -> None:
    names = PaddleEngine(exported_model / "SAM-H_box", threads=1).input_names
    assert sorted(names) == ["images", "prompts"]


@pytest.mark.parametrize("kind", ["box", "point"])
def test_one_kind_of_prompt_can_be_had_alone(
    small_model: Path, tmp_path: Path, kind: PromptKind
) -> None:
    export_model(small_model, "paddlex", tmp_path / "out", (kind,))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["README.md", f"SAM-H_{kind}"]


def test_a_model_without_our_network_cannot_become_paddlexs(
    small_model: Path, tmp_path: Path
) -> None:
    manifest = replace(ModelManifest.load(small_model), kind="cut")
    (tmp_path / "other").mkdir()
    manifest.save(tmp_path / "other")
    with pytest.raises(ExportError, match="came in PaddleX's format"):
        export_model(tmp_path / "other", "paddlex", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_weight_is_named(small_model: Path, tmp_path: Path) -> None:
    folder = install_small_model(tmp_path)
    decoder = small_model / "prompt_decoder"
    for file in decoder.iterdir():  # twice the prompt decoder, and no encoder
        (folder / "encoder" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ExportError, match=r"lack image_encoder\..*import the model again"):
        export_model(folder, "paddlex", tmp_path / "out")


def test_nothing_is_overwritten(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="not an empty folder"):
        export_model(small_model, "paddle", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
