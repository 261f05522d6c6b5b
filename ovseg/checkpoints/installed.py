"""The installed models, and whether their files are what was installed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ovseg.checkpoints.installing import sha256_of
from ovseg.manifest import ModelManifest, ModelNotInstalledError, ObsoleteModelError

# The engines that read a program, by the suffix of its graph's file.
ENGINES_BY_SUFFIX = {
    ".json": ("paddle",),
    ".onnx": ("openvino", "onnxruntime"),
}


class State(Enum):
    """What is known of an installed model's files; the value is for people."""

    COMPLETE = "complete"  # every file is there and has its recorded size
    VERIFIED = "verified"  # and its recorded SHA-256
    DAMAGED = "damaged"


@dataclass(frozen=True)
class InstalledModel:
    """A folder of the model directory."""

    folder: Path
    manifest: ModelManifest | None
    """None where the folder holds no readable manifest."""
    state: State
    damage: str = ""
    """The first thing that is wrong, in one line."""

    @property
    def size_bytes(self) -> int:
        """Of the serving artefacts, as they were installed."""
        return sum(file.size_bytes for file in self.manifest.files) if self.manifest else 0

    @property
    def engines(self) -> tuple[str, ...]:
        """The inference engines that the model has artefacts for."""
        files = self.manifest.files if self.manifest else ()
        suffixes = {Path(file.path).suffix for file in files}
        return tuple(
            engine
            for suffix, engines in ENGINES_BY_SUFFIX.items()
            for engine in engines
            if suffix in suffixes
        )


def find_installed_models(model_dir: Path, verify: bool = False) -> list[InstalledModel]:
    """Every model in a folder, by name.

    Args:
        model_dir: folder of installed models; may be missing.
        verify: compute the SHA-256 of every file, which takes seconds for each gigabyte.
    """
    if not model_dir.is_dir():
        return []
    folders = sorted(
        path for path in model_dir.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    return [_inspect(folder, verify) for folder in folders]


def _inspect(folder: Path, verify: bool) -> InstalledModel:
    try:
        manifest = ModelManifest.load(folder)
    except ObsoleteModelError as error:
        return InstalledModel(folder, None, State.DAMAGED, str(error))
    except ModelNotInstalledError:
        return InstalledModel(folder, None, State.DAMAGED, "has no readable model.json")
    damage = _find_damage(folder, manifest, verify)
    if damage:
        return InstalledModel(folder, manifest, State.DAMAGED, damage)
    return InstalledModel(folder, manifest, State.VERIFIED if verify else State.COMPLETE)


def _find_damage(folder: Path, manifest: ModelManifest, verify: bool) -> str:
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            return f"{file.path} is missing"
        size = path.stat().st_size
        if size != file.size_bytes:
            return f"{file.path} has {size} bytes instead of {file.size_bytes}"
        if verify and sha256_of(path) != file.sha256:
            return f"{file.path} has been changed: its SHA-256 is not the recorded one"
    return ""
