"""Checkpoint files of every format that can be imported."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.stored_tensor import StoredTensor, as_float32
from ovseg.checkpoints.torch_archive import read_torch_archive


def read_checkpoint(path: Path) -> dict[str, StoredTensor]:
    """Read the names and shapes of a state dict, `.safetensors` or torch's zip format.

    Raises:
        UnreadableCheckpointError: the file is missing, damaged, or of another format.
        UnsafeCheckpointError: its pickle asks for something that a state dict has no need of.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return read_torch_archive(path)
    except OSError as error:
        raise UnreadableCheckpointError(
            f"{path} cannot be read: {error.strerror or error}"
        ) from None


def _read_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {
                name: StoredTensor(
                    tuple(file.get_slice(name).get_shape()),
                    partial(_read_safetensor, path, name),
                )
                for name in file.keys()  # noqa: SIM118 (not a dictionary)
            }
    except SafetensorError as error:
        raise UnreadableCheckpointError(
            f"{path.name} is not a safetensors file, or is truncated: {error}"
        ) from None


def _read_safetensor(path: Path, name: str) -> NDArray[Any]:
    with safe_open(path, framework="numpy") as file:
        values: NDArray[Any] = file.get_tensor(name)
    return as_float32(values, str(values.dtype))
