"""Checkpoint files of every format that can be imported."""

from __future__ import annotations

from pathlib import Path

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.safetensors_file import read_safetensors
from ovseg.checkpoints.stored_tensor import StoredTensor
from ovseg.checkpoints.torch_archive import read_torch_archive


def read_checkpoint(path: Path) -> dict[str, StoredTensor]:
    """Read the names and shapes of a state dict, `.safetensors` or torch's zip format.

    The content decides, not the file's name.

    Raises:
        UnreadableCheckpointError: the file is missing, damaged, or of another format.
        UnsafeCheckpointError: its pickle asks for something that a state dict has no need of.
    """
    try:
        if _is_safetensors(path):
            return read_safetensors(path)
        return read_torch_archive(path)
    except OSError as error:
        raise UnreadableCheckpointError(
            f"{path} cannot be read: {error.strerror or error}"
        ) from None


def _is_safetensors(path: Path) -> bool:
    """Whether to read a file as safetensors: the length of a header, then JSON.

    The name counts only for a file that is neither, so that its error says what it was meant to be.
    """
    with path.open("rb") as file:
        start = file.read(9)
    is_zip = start.startswith(b"PK")
    return start[8:] == b"{" or (path.suffix == ".safetensors" and not is_zip)
