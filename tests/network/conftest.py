"""Models imported once for all comparisons with other implementations."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from safetensors.numpy import save_file

GOLDEN_FOLDER = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN_FOLDER))

from cases import COMPARED  # noqa: E402
from seeded_weights import seeded_state_dict, seeded_tensor  # noqa: E402

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
    """A folder of installed models with the weights that the references had."""
    # Not pytest's tmp_path: that one keeps the files of three runs, and these are large.
    with TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        import_checkpoint(golden_folder / "sam_tiny.pth", "sam_tiny", models)

        if any(golden.model == "sam_vit_b" for golden in COMPARED):
            vit_b = golden_folder / "sam_vit_b.pth"
            if not vit_b.exists():
                vit_b = Path(folder) / "sam_vit_b.safetensors"
                write_seeded_checkpoint("sam_vit_b", vit_b)
            import_checkpoint(vit_b, "sam_vit_b", models)

        hugging_face = golden_folder / "sam_tiny_hugging_face"
        import_checkpoint(hugging_face, None, models, name=hugging_face.name)

        mobile_sam = Path(folder) / "mobile_sam.safetensors"
        write_mobile_sam_checkpoint(golden_folder / "mobile_sam_shapes.json", mobile_sam)
        import_checkpoint(mobile_sam, None, models)
        yield models


def write_seeded_checkpoint(variant: str, path: Path) -> None:
    """The state dict that Meta's network had when the golden files were made."""
    slots = find_slots(SegmentAnything(VARIANTS[variant]))
    save_file(seeded_state_dict({key: slot.stored_shape for key, slot in slots.items()}), path)


def write_mobile_sam_checkpoint(shapes: Path, path: Path) -> None:
    """The state dict of MobileSAM's network, by its own names."""
    tensors = {}
    for name, shape in json.loads(shapes.read_text()).items():
        is_count = name.endswith("num_batches_tracked")
        tensors[name] = np.zeros(shape, np.int64) if is_count else seeded_tensor(name, tuple(shape))
    save_file(tensors, path)
