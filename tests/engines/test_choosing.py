"""The engine is the setting's, else the one that the model was imported with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from ovseg import engines
from ovseg.cli.main import app
from ovseg.engines import choose_engine, open_engine
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.manifest import MANIFEST_FILE_NAME, ModelManifest
from ovseg.settings import EngineName, Settings, get_settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.prompt_decoder import load_prompt_decoder

STANDIN = Path(__file__).parent.parent / "contract" / "data" / "standin_models" / "SAM-H_box"
OTHER = cast(EngineName, "other")  # as a later version may have one


@pytest.mark.parametrize(
    ("setting", "recorded", "chosen"),
    [
        ("auto", "auto", "paddle"),
        ("auto", OTHER, OTHER),
        ("paddle", OTHER, "paddle"),
        (OTHER, "auto", OTHER),
    ],
)
def test_the_setting_goes_before_the_model(
    setting: EngineName, recorded: EngineName, chosen: EngineName
) -> None:
    assert choose_engine(setting, recorded) == chosen


def test_stages_ask_for_the_models_engine(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_other(program_folder: Path, _settings: Settings) -> Any:
        opened.append(program_folder.name)

    monkeypatch.setitem(engines._OPENERS, OTHER, open_other)
    recorded = ModelManifest.load(small_model).model_copy(update={"engine": OTHER})
    monkeypatch.setattr(ModelManifest, "load", lambda _folder: recorded)
    settings = Settings(model_dir=small_model.parent, model=small_model.name, engine="auto")
    load_image_encoder(settings)
    load_prompt_decoder(settings)
    assert opened == ["encoder", "prompt_decoder", "mask_encoder"]
    load_image_encoder(settings.model_copy(update={"engine": "paddle"}))
    assert len(opened) == 3


def test_auto_opens_paddle(small_model: Path) -> None:
    assert isinstance(open_engine(small_model / "encoder", Settings(threads=1)), PaddleEngine)


@pytest.mark.parametrize("option", [(), ("--engine", "auto"), ("--engine", "paddle")])
def test_import_records_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        result = CliRunner().invoke(app, ["import", str(STANDIN), "--name", "mine", *option])
        assert result.exit_code == 0, result.output
        (listed,) = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)["installed"]
    finally:
        get_settings.cache_clear()
    assert ModelManifest.load(tmp_path / "mine").engine == (option[1] if option else "auto")
    assert listed["manifest"]["engine"] == (option[1] if option else "auto")


def test_import_refuses_an_engine_that_does_not_exist(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", str(STANDIN), "--engine", "steam"])
    assert result.exit_code == 2


def test_models_imported_before_have_no_engine_of_their_own(
    small_model: Path, tmp_path: Path
) -> None:
    content = json.loads((small_model / MANIFEST_FILE_NAME).read_text("utf-8"))
    del content["engine"]
    (tmp_path / MANIFEST_FILE_NAME).write_text(json.dumps(content), "utf-8")
    assert ModelManifest.load(tmp_path).engine == "auto"
