"""What the supervisor hands down to stages is what they read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from ovseg.settings import PROJECT_ROOT, Settings
from ovseg.stages.settings import VARIABLE, StageSettings

OTHERS = Settings(
    model="other",
    model_dir=Path("/some where"),
    engine="onnxruntime",
    precision="bf16",
    threads=3,
    image_formats="png,JPEG",
    max_coordinate=12.5,
    log_format="json",
)


def test_stages_read_what_was_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_MODEL", "not this one")
    monkeypatch.setenv(VARIABLE, StageSettings.of(OTHERS).to_json())

    read = StageSettings.handed_down()

    assert read == StageSettings.of(OTHERS)
    assert read.model_folder == OTHERS.model_folder == Path("/some where/other")
    assert read.accepted_image_formats == ("PNG", "JPEG")


def test_without_a_supervisor_stages_read_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("OVSEG_MAX_PROMPTS", "7")
    assert StageSettings.handed_down().max_prompts == 7

    monkeypatch.setenv("OVSEG_MAX_PROMPTS", "many")
    with pytest.raises(ValidationError):
        StageSettings.handed_down()


def test_no_stage_imports_what_only_settings_need() -> None:
    # It would be half of a stage's start, and many start at once when Triton has crashed.
    scripts = sorted((PROJECT_ROOT / "model_repository").glob("*/1/model.py"))
    assert len(scripts) == 7
    program = (
        "import runpy, sys\n"
        "for script in sys.argv[1:]: runpy.run_path(script)\n"
        "print([name for name in sys.modules if name.startswith(('pydantic', 'asyncio'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *map(str, scripts)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"
