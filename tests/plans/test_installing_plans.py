"""`ovseg build-engine` with a fake TensorRT: a plan is installed whole and right, or not at all."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from ovseg.checkpoints.plan_installing import install_plan
from ovseg.checkpoints.self_check import check_engines
from ovseg.cli.main import app
from ovseg.engines import EngineError
from ovseg.engines.choosing import EngineChoice, choose_engine, load_engine, open_engine
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.engines.plans import PlanDescription, has_plan, plan_file
from ovseg.engines.tensorrt import TensorRtEngine
from ovseg.exporting.errors import ExportError
from ovseg.exporting.tensorrt_plan import PlanRequest
from ovseg.manifest import ModelManifest
from ovseg.settings import Settings
from tests.plans.fake_tensorrt import Recorder, install_fake

REQUEST = PlanRequest(max_batch=3)


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with its content's digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_plan_is_built_checked_and_installed(
    model: Path, settings: Settings, tensorrt: Recorder
) -> None:
    before = tree(model.parent)
    lines: list[str] = []
    check = install_plan(model, settings, REQUEST, lines.append)
    assert check.accepted and (check.engine, check.precision) == ("tensorrt", "fp16")
    assert check.mean_iou >= 0.99 and check.embedding_cosine is not None
    assert 0.999 < check.embedding_cosine < 1, "float16 is not float32"
    assert check in ModelManifest.load(model).checks
    new = tree(model.parent).keys() - before.keys()
    assert new == {f"small/encoder/tensorrt/{name}" for name in ("model.plan", "plan.json")}
    description = PlanDescription.load(model / "encoder")
    assert (description.gpu, description.tensorrt) == ("a fake GPU", "11.4.0.fake")
    assert description.size_bytes == plan_file(model / "encoder").stat().st_size
    assert lines[0].startswith("building the plan of the encoder with tensorrt fp16")
    assert not tensorrt.memory, "all of the GPU's memory was given back"
    assert tensorrt.batches.count(3) == 1, "the largest batch was checked"


def test_what_tensorrt_is_asked_for(model: Path, settings: Settings, tensorrt: Recorder) -> None:
    install_plan(model, settings, PlanRequest("fp16", 4, 2, 1 << 30))
    assert tensorrt.network_flags == [1 << 1], "strongly typed: the graph says the precision"
    assert tensorrt.cleared_flags == ["TF32"]
    assert tensorrt.workspace_bytes == 1 << 30
    assert tensorrt.profile == {
        "pixels": ((1, 256, 256, 3), (2, 256, 256, 3), (4, 256, 256, 3)),
        "input_size": ((1, 2), (2, 2), (4, 2)),
    }
    halves = [
        weight
        for weight in tensorrt.graph.graph.initializer
        if weight.data_type == onnx.TensorProto.FLOAT16
    ]
    assert halves


def test_an_fp32_plan_is_float32(model: Path, settings: Settings, tensorrt: Recorder) -> None:
    check = install_plan(model, settings, PlanRequest("fp32", 2))
    assert check.precision == "fp32" and check.min_iou > 0.999
    types = {weight.data_type for weight in tensorrt.graph.graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in types


def fails(recorder: Recorder, how: str) -> str:
    """Let something go wrong; returns what is to be said about it."""
    if how == "wrong":
        recorder.wrong_from_image = 0
        return "the plan is wrong, so it is not installed: mean mask IoU"
    if how == "wrong in the last place of a batch only":
        recorder.wrong_from_image = 2
        return "the plan is wrong, so it is not installed: "
    if how == "unreadable":
        recorder.parser_error = "no importer for Steam"
        return "TensorRT cannot read the encoder: no importer for Steam"
    if how == "cannot build":
        recorder.cannot_build = True
        return "TensorRT cannot build the plan"
    recorder.cannot_load = True
    return "the plan cannot be checked, so it is not installed: TensorRT 11.4.0.fake cannot load"


@pytest.mark.parametrize(
    ("which", "how"),
    [
        ("model", "wrong"),
        ("model_with_plan", "wrong in the last place of a batch only"),
        ("model", "unreadable"),
        ("model_with_plan", "cannot build"),
        ("model_with_plan", "no load"),
    ],
)
def test_a_failure_leaves_everything_as_it_was(
    request: pytest.FixtureRequest, settings: Settings, tensorrt: Recorder, which: str, how: str
) -> None:
    model: Path = request.getfixturevalue(which)
    before = tree(model.parent)
    message = fails(tensorrt, how)
    with pytest.raises(ExportError, match=message):
        install_plan(model, settings, REQUEST)
    assert tree(model.parent) == before
    assert [path.name for path in model.parent.iterdir()] == ["small"], "no folder is left"
    assert not tensorrt.memory


def test_without_tensorrt_it_is_one_line_and_exit_code_1(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model.parent))
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    before = tree(model.parent)
    result = CliRunner().invoke(app, ["build-engine", "small"])
    assert result.exit_code == 1
    assert "TensorRT is not installed" in result.output
    assert "Traceback" not in result.output
    assert tree(model.parent) == before


@pytest.mark.usefixtures("tensorrt")
def test_the_command_says_what_it_installed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model.parent))
    arguments = ["build-engine", "small", "--max-batch", "2", "--optimal-batch", "3"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1 and "between 1 and the largest (2)" in refused.output
    result = CliRunner().invoke(app, arguments[:-2])
    assert result.exit_code == 0, result.output
    assert "installed a TensorRT plan of small: " in result.output


class TestServing:
    """What happens with an installed plan."""

    @pytest.fixture
    def model(self, model_with_plan: Path) -> Path:
        return model_with_plan

    @pytest.fixture
    def tensorrt(
        self, installed_plan: tuple[Path, Recorder], monkeypatch: pytest.MonkeyPatch
    ) -> Recorder:
        recorder = install_fake(monkeypatch)
        recorder.profile = installed_plan[1].profile
        return recorder

    @pytest.fixture(autouse=True)
    def _gpu(self, tensorrt: Recorder) -> None:
        """Every test has one."""

    def test_batches_of_any_size_give_what_each_image_gives(
        self, model: Path, tensorrt: Recorder
    ) -> None:
        engine = load_engine(model / "encoder", EngineChoice("tensorrt", "fp16"), 1)
        numbers = np.random.default_rng(0)
        pixels = numbers.integers(0, 256, (7, 256, 256, 3), np.uint8)
        sizes = np.array([[256, 256 - 8 * i] for i in range(7)], np.int32)
        tensorrt.batches.clear()
        (together,) = engine.run(pixels=pixels, input_size=sizes)
        assert tensorrt.batches == [3, 3, 1]
        for i in range(7):
            (alone,) = engine.run(pixels=pixels[i : i + 1], input_size=sizes[i : i + 1])
            np.testing.assert_allclose(together[i : i + 1], alone, atol=2e-2)

    def test_what_does_not_fit_never_reaches_the_gpu(self, model: Path) -> None:
        engine = TensorRtEngine(model / "encoder")
        good = {"pixels": np.zeros((1, 256, 256, 3), np.uint8), "input_size": np.ones((1, 2), "i4")}
        for name, array in (
            ("pixels", np.zeros((1, 512, 256, 3), np.uint8)),
            ("pixels", np.zeros((1, 256, 256, 3), np.float32)),
            ("pixels", np.zeros((0, 256, 256, 3), np.uint8)),
            ("input_size", np.ones((2, 2), np.int32)),
        ):
            with pytest.raises(EngineError, match="given"):
                engine.run(**(good | {name: array}))
        with pytest.raises(EngineError, match="takes"):
            engine.run(pixels=good["pixels"])

    def test_auto_takes_it_if_it_is_fastest_and_only_for_the_encoder(
        self, model: Path, settings: Settings
    ) -> None:
        manifest = ModelManifest.load(model)
        plan = EngineChoice("tensorrt", "fp16")
        assert choose_engine("encoder", settings, manifest) == plan
        told = settings.model_copy(update={"engine": "tensorrt"})
        assert choose_engine("encoder", told, manifest) == plan
        assert choose_engine("decoder", told, manifest) == EngineChoice("paddle", "fp32")

    def test_a_plan_that_cannot_be_loaded_is_passed_over_with_a_warning(
        self,
        model: Path,
        settings: Settings,
        tensorrt: Recorder,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tensorrt.cannot_load = True
        manifest = ModelManifest.load(model)
        with caplog.at_level(logging.WARNING):
            engine = open_engine(model / "encoder", settings, manifest)
        assert isinstance(engine, PaddleEngine)
        assert "the encoder of small runs with paddle fp32: TensorRT" in caplog.text
        told = settings.model_copy(update={"engine": "tensorrt"})
        with pytest.raises(EngineError, match=r"cannot load .* built by TensorRT"):
            open_engine(model / "encoder", told, manifest)

    def test_a_damaged_plan_is_not_given_to_tensorrt(self, model: Path) -> None:
        plan_file(model / "encoder").write_bytes(b"half a plan")
        with pytest.raises(EngineError, match=r"model\.plan is damaged: build it again"):
            TensorRtEngine(model / "encoder")

    def test_the_self_check_tries_it_again(
        self, model: Path, settings: Settings, tensorrt: Recorder
    ) -> None:
        tensorrt.wrong_from_image = 0
        manifest = check_engines(model, settings)
        (check,) = (check for check in manifest.checks if check.engine == "tensorrt")
        assert not check.accepted
        assert choose_engine("encoder", settings, manifest).engine != "tensorrt"


def test_a_plan_that_was_not_checked_is_not_used(model: Path, settings: Settings) -> None:
    told = settings.model_copy(update={"engine": "tensorrt"})
    assert not has_plan(model / "encoder")
    with pytest.raises(EngineError, match="small cannot run its encoder with tensorrt: the self-"):
        choose_engine("encoder", told, ModelManifest.load(model))
