"""`.safetensors` files, the format of the bundled model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import UnreadableCheckpointError


def test_half_precision_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    values = np.linspace(-3, 3, 12).reshape(3, 4)
    save_file({"half": values.astype(np.float16), "single": values.astype(np.float32)}, path)
    tensors = read_checkpoint(path)
    assert tensors["half"].shape == (3, 4)
    assert tensors["half"].read().dtype == np.float32
    assert (tensors["half"].read() == values.astype(np.float16)).all()
    assert (tensors["single"].read() == values.astype(np.float32)).all()


@pytest.mark.parametrize("length", [0, 4, 40])
def test_truncated_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"weight": np.zeros((64, 64), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UnreadableCheckpointError, match=r"cut\.safetensors") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpointError, match=r"absent\.safetensors"):
        read_checkpoint(tmp_path / "absent.safetensors")
