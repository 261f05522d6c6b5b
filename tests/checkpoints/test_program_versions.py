"""Models whose programs another version of ovseg wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import to_builtins

from ovseg.checkpoints import bundled, importing, self_check
from ovseg.checkpoints.installed import State, find_installed_models
from ovseg.checkpoints.installing import sha256_of
from ovseg.manifest import PROGRAMS_VERSION, ModelManifest, ObsoleteModelError


def save_manifest(folder: Path, **changes: object) -> None:
    """A manifest of a split model; a change to None leaves the field out."""
    manifest = ModelManifest(
        name=folder.name,
        variant="sam_mini",
        kind="split",
        input_size=512,
        embedding_shape=(64, 64, 256),
        parameters=1,
        source="weights.safetensors",
        source_sha256="",
        programs_version=PROGRAMS_VERSION,
    )
    fields = {**to_builtins(manifest), **changes}
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in fields.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(kept), "utf-8")


@pytest.mark.parametrize("version", [None, 1, PROGRAMS_VERSION + 1])
def test_another_version_is_refused_with_what_to_do(version: int | None, tmp_path: Path) -> None:
    save_manifest(tmp_path / "mine", programs_version=version)
    with pytest.raises(ObsoleteModelError) as caught:
        ModelManifest.load(tmp_path / "mine")
    message = str(caught.value)
    assert "ovseg import CHECKPOINT --name mine" in message and "weights.safetensors" in message
    assert "\n" not in message
    (model,) = find_installed_models(tmp_path)
    assert (model.state, model.damage) == (State.DAMAGED, message)


def test_this_version_is_read(tmp_path: Path) -> None:
    save_manifest(tmp_path / "mine")
    assert ModelManifest.load(tmp_path / "mine").programs_version == PROGRAMS_VERSION


def test_programs_that_came_as_they_are_have_no_version(tmp_path: Path) -> None:
    save_manifest(tmp_path / "mine", kind="fused", programs_version=None)
    assert ModelManifest.load(tmp_path / "mine").kind == "fused"


def test_the_bundled_model_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [{"part": "decoder", "engine": "paddle", "precision": "fp32", "accepted": True}]
    weights = sha256_of(bundled.BUNDLED_WEIGHTS)
    made: list[str] = []
    monkeypatch.setattr(
        importing, "import_checkpoint", lambda _weights, name, _models: made.append(name)
    )
    monkeypatch.setattr(self_check, "check_engines", lambda *_: None)
    for version in (PROGRAMS_VERSION, 1):
        save_manifest(
            tmp_path / "sam_mini", source_sha256=weights, checks=checks, programs_version=version
        )
        bundled.install_bundled_model(tmp_path, lambda _line: None)
    assert made == ["sam_mini"]
