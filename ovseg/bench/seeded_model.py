"""A model of any variant with weights from a seed: good for speed, for nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg.manifest import ModelManifest, ModelNotInstalledError

_SEED = 1


def install_seeded_model(
    variant: str, model_dir: Path, say: Callable[[str], None]
) -> ModelManifest:
    """Install `variant` with seeded weights under its own name, unless it is there already.

    It goes the way of every checkpoint: written as safetensors with Meta's keys, imported, checked.

    Raises:
        CheckpointError: there is no such variant.
        EngineError: no engine can run it.
    """
    # These import Paddle, which takes seconds.
    from safetensors.numpy import save_file

    from ovseg.checkpoints.errors import UnknownVariantError
    from ovseg.checkpoints.importing import import_checkpoint
    from ovseg.checkpoints.self_check import check_engines
    from ovseg.checkpoints.state_dict import find_slots
    from ovseg.network.segment_anything import SegmentAnything
    from ovseg.network.variants import VARIANTS
    from ovseg.settings import get_settings

    try:
        manifest = ModelManifest.load(model_dir / variant)
        if manifest.checks:
            return manifest
    except ModelNotInstalledError:
        pass
    if variant not in VARIANTS:
        raise UnknownVariantError(f"{variant} is no variant; choose from {', '.join(VARIANTS)}")
    say(f"making {variant} with weights from a seed …")
    model_dir.mkdir(parents=True, exist_ok=True)
    file = model_dir / f"{variant}.seeded.safetensors"
    slots = find_slots(SegmentAnything(VARIANTS[variant]))
    numbers = np.random.default_rng(_SEED)
    save_file({key: _values(key, slot.stored_shape, numbers) for key, slot in slots.items()}, file)
    try:
        import_checkpoint(file, variant, model_dir, progress=say)
    finally:
        file.unlink()
    say("checking it in every engine …")
    return check_engines(model_dir / variant, get_settings())


def _values(key: str, shape: tuple[int, ...], numbers: np.random.Generator) -> NDArray[np.float32]:
    """Values that keep activations near 1 through the whole network."""
    if key.endswith(".bias"):
        centre, spread = 0.0, 0.1
    elif len(shape) == 1:
        centre, spread = 1.0, 0.2
    elif "embed" in key or "token" in key or "gaussian" in key or "rel_pos" in key:
        centre, spread = 0.0, 0.5
    else:
        # Transposed convolutions are [in, out, h, w], all others [out, in, …].
        fan_in = shape[0] if "output_upscaling" in key else math.prod(shape[1:])
        centre, spread = 0.0, 1.0 / math.sqrt(fan_in)
    return numbers.normal(centre, spread, shape).astype(np.float32)
