"""The engine and the precision: the settings', else the model's, else the fastest accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from typer.testing import CliRunner

from ovseg.cli.main import app
from ovseg.engines import EngineError, choosing
from ovseg.engines.choosing import EngineChoice, choose_engine, open_engine
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.manifest import MANIFEST_FILE_NAME, EngineCheck, ModelManifest
from ovseg.settings import EngineName, PrecisionName, Settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.prompt_decoder import load_prompt_decoder


def encoder_check(
    engine: EngineName, precision: PrecisionName, seconds: float, reason: str = ""
) -> EngineCheck:
    return EngineCheck(
        part="encoder",
        engine=engine,
        precision=precision,
        accepted=not reason,
        reason=reason,
        seconds=seconds,
    )


CHECKS = (
    encoder_check("paddle", "fp32", 10.0),
    encoder_check("openvino", "fp32", 4.0),
    encoder_check("openvino", "bf16", 2.0),
    encoder_check("openvino", "int8", 1.0),
)
PADDLE, OPENVINO = EngineChoice("paddle", "fp32"), EngineChoice("openvino", "fp32")


@pytest.fixture
def every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with all engines, whose CPU has bf16."""
    everything: dict[str, tuple[PrecisionName, ...]] = {
        "paddle": ("fp32",),
        "openvino": ("fp32", "bf16", "int8"),
        "onnxruntime": ("fp32",),
    }
    monkeypatch.setattr(choosing, "available_precisions", lambda engine: everything[engine])


def manifest(**fields: Any) -> ModelManifest:
    facts = {
        "name": "mine",
        "variant": "small",
        "kind": "split",
        "input_size": 256,
        "embedding_shape": (32, 64, 64),
        "parameters": 1,
        "source": "",
        "source_sha256": "",
    }
    return convert(facts | fields, ModelManifest)


def choose(
    checks: tuple[EngineCheck, ...], recorded: dict[str, str] | None = None, **settings: Any
) -> EngineChoice:
    model = manifest(checks=checks, **recorded or {})
    return choose_engine("encoder", Settings(**settings), model)


@pytest.mark.usefixtures("every_engine")
class TestChoosing:
    def test_auto_is_the_fastest_accepted_without_int8(self) -> None:
        assert choose(CHECKS) == EngineChoice("openvino", "bf16")
        assert choose(CHECKS[:2]) == OPENVINO
        refused = encoder_check("openvino", "bf16", 2.0, "mean mask IoU 0.9 is below 0.99")
        assert choose((*CHECKS[:2], refused)) == OPENVINO

    def test_the_settings_go_before_the_model(self) -> None:
        assert choose(CHECKS, engine="paddle") == PADDLE
        assert choose(CHECKS, precision="fp32") == OPENVINO
        assert choose(CHECKS, precision="int8") == EngineChoice("openvino", "int8")
        recorded = {"engine": "openvino", "precision": "int8"}
        assert choose(CHECKS, recorded) == EngineChoice("openvino", "int8")
        assert choose(CHECKS, recorded, engine="paddle", precision="fp32") == PADDLE

    def test_the_encoders_precision_is_not_the_decoders(self) -> None:
        model = manifest(checks=CHECKS, precision="int8")
        settings = Settings(precision="int8")
        assert choose_engine("decoder", settings, model) == PADDLE

    def test_a_refused_precision_is_one_clear_line(self) -> None:
        refused = encoder_check("openvino", "int8", 1.0, "mean mask IoU 0.9000 is below 0.99")
        with pytest.raises(EngineError) as error:
            choose((*CHECKS[:2], refused), precision="int8")
        assert str(error.value) == (
            "mine cannot run its encoder with int8: mean mask IoU 0.9000 is below 0.99"
        )

    def test_what_was_not_checked_is_not_used(self) -> None:
        with pytest.raises(EngineError, match="with int8: the self-check of its import did not"):
            choose(CHECKS[:3], precision="int8")
        with pytest.raises(EngineError, match="with openvino bf16: the self-check"):
            choose((), engine="openvino", precision="bf16")

    def test_a_model_without_a_check_runs_with_the_reference_or_as_it_is_told(self) -> None:
        assert choose(()) == PADDLE
        assert choose((), engine="onnxruntime") == EngineChoice("onnxruntime", "fp32")


def test_what_this_machine_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {"paddle": ("fp32",), "openvino": ("fp32",), "onnxruntime": ()}
    monkeypatch.setattr(choosing, "available_precisions", lambda engine: without[engine])
    assert choose(CHECKS) == OPENVINO
    with pytest.raises(EngineError, match="this machine has no openvino with bf16"):
        choose(CHECKS, precision="bf16")
    assert choose((CHECKS[0], encoder_check("onnxruntime", "fp32", 0.1))) == PADDLE


def test_stages_open_what_is_chosen(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int, str]] = []

    def open_other(program_folder: Path, threads: int, precision: PrecisionName) -> Any:
        opened.append((program_folder.name, threads, precision))

    monkeypatch.setitem(choosing._OPENERS, "onnxruntime", open_other)
    settings = Settings(model_dir=small_model.parent, model=small_model.name, threads=3)
    settings = settings.model_copy(update={"engine": "onnxruntime"})
    load_image_encoder(settings)
    load_prompt_decoder(settings)
    assert opened == [(name, 3, "fp32") for name in ("encoder", "prompt_decoder", "mask_encoder")]


def test_auto_opens_paddle_for_a_model_without_a_check(small_model: Path) -> None:
    model = ModelManifest.load(small_model)
    engine = open_engine(small_model / "encoder", Settings(threads=1, engine="auto"), model)
    assert isinstance(engine, PaddleEngine)


@pytest.mark.parametrize("option", ["--engine", "--precision"])
def test_import_refuses_what_does_not_exist(tmp_path: Path, option: str) -> None:
    result = CliRunner().invoke(app, ["import", str(tmp_path), option, "steam"])
    assert result.exit_code == 2


def test_models_imported_before_have_no_engine_of_their_own(
    small_model: Path, tmp_path: Path
) -> None:
    content = json.loads((small_model / MANIFEST_FILE_NAME).read_text("utf-8"))
    for name in ("engine", "precision", "checks"):
        del content[name]
    (tmp_path / MANIFEST_FILE_NAME).write_text(json.dumps(content), "utf-8")
    before = ModelManifest.load(tmp_path)
    assert (before.engine, before.precision, before.checks) == ("auto", "auto", ())
