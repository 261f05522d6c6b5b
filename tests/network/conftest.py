"""Models imported once for all comparisons with Meta's code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from safetensors.numpy import save_file

GOLDEN_FOLDER = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN_FOLDER))

from seeded_weights import seeded_state_dict  # noqa: E402

from ovseg.checkpoints.importing import import_checkpoint  # noqa: E402
from ovseg.checkpoints.state_dict import find_slots  # noqa: E402
from ovseg.network.segment_anything import SegmentAnything  # noqa: E402
from ovseg.network.variants import VARIANTS  # noqa: E402


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Where Meta's answers are: in the repository, or freshly made by `make test-reference`."""
    return Path(os.environ.get("OVSEG_GOLDEN_DIR", GOLDEN_FOLDER))


@pytest.fixture(scope="session")
def model_dir(golden_folder: Path) -> Iterator[Path]:
    """A folder of installed models: `sam_tiny` and `sam_vit_b`, the weights being Meta's test's."""
    # Not pytest's tmp_path: that one keeps the files of three runs, and these are large.
    with TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        import_checkpoint(golden_folder / "sam_tiny.pth", "sam_tiny", models)

        vit_b = golden_folder / "sam_vit_b.pth"
        if not vit_b.exists():
            vit_b = Path(folder) / "sam_vit_b.safetensors"
            write_seeded_checkpoint("sam_vit_b", vit_b)
        import_checkpoint(vit_b, "sam_vit_b", models)
        yield models


def write_seeded_checkpoint(variant: str, path: Path) -> None:
    """The state dict that Meta's network had when the golden files were made."""
    slots = find_slots(SegmentAnything(VARIANTS[variant]))
    save_file(seeded_state_dict({key: slot.stored_shape for key, slot in slots.items()}), path)
