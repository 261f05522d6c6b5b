"""The bundled default model, prepared once for all tests that serve it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ovseg.checkpoints.bundled import install_bundled_model
from ovseg.settings import BUNDLED_MODEL, get_settings


def copy_bundled_model(folder: Path) -> Path:
    """A model folder with a copy of the bundled model that a test may damage; returns `folder`.

    The model is prepared once, where `make demo` and `make serve` have it too.
    """
    install_bundled_model(get_settings().model_dir, say=print)
    shutil.copytree(get_settings().model_dir / BUNDLED_MODEL, folder / BUNDLED_MODEL)
    return folder
