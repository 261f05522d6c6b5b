"""The model that comes with the project: weights in the repository, artefacts made on first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.installing import sha256_of
from ovseg.manifest import ModelManifest, ModelNotInstalledError
from ovseg.settings import BUNDLED_MODEL, PROJECT_ROOT, get_settings

BUNDLED_WEIGHTS = PROJECT_ROOT / "weights" / f"{BUNDLED_MODEL}.safetensors"


def install_bundled_model(model_dir: Path, say: Callable[[str], None]) -> ModelManifest:
    """Install and check `sam_mini` unless it is installed from these very weights (once).

    Raises:
        CheckpointError: the bundled weights are missing or damaged.
        EngineError: Paddle cannot run it.
    """
    if not BUNDLED_WEIGHTS.is_file():
        raise UnreadableCheckpointError(f"{BUNDLED_WEIGHTS} is missing from the checkout")
    try:
        manifest = ModelManifest.load(model_dir / BUNDLED_MODEL)
        if manifest.checks and manifest.source_sha256 == sha256_of(BUNDLED_WEIGHTS):
            return manifest
    except ModelNotInstalledError:
        pass
    # Imports Paddle, which takes seconds: only when there is something to make.
    from ovseg.checkpoints.importing import import_checkpoint
    from ovseg.checkpoints.self_check import check_engines

    say(f"preparing the bundled model {BUNDLED_MODEL} (once) …")
    import_checkpoint(BUNDLED_WEIGHTS, BUNDLED_MODEL, model_dir)
    return check_engines(model_dir / BUNDLED_MODEL, get_settings())
