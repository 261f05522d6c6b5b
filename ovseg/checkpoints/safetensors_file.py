"""`.safetensors` files: names and shapes at once, values when they are asked for.

The safetensors library checks the file; bfloat16, which numpy lacks and the library therefore
refuses, is read from the file's data directly (a JSON header with byte ranges, then raw
little-endian values).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.stored_tensor import StoredTensor, as_float32

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
LENGTH_BYTES = 8  # of the number before the header


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Read the names, shapes and types of a file's tensors.

    Raises:
        UnreadableCheckpointError: the file is no safetensors file, or is truncated.
        OSError: the file cannot be read at all.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: _stored_tensor(path, name, tuple(piece.get_shape()), piece.get_dtype())
                for name, piece in slices.items()
            }
    except SafetensorError as error:
        raise UnreadableCheckpointError(
            f"{path.name} is not a safetensors file, or is truncated: {error}"
        ) from None


def _stored_tensor(path: Path, name: str, shape: tuple[int, ...], code: str) -> StoredTensor:
    dtype = DTYPES.get(code, code)
    if dtype == "bfloat16":
        return StoredTensor(shape, partial(_read_bfloat16, path, name), dtype)
    return StoredTensor(shape, partial(_read, path, name), dtype)


def _read(path: Path, name: str) -> NDArray[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            values: NDArray[Any] = file.get_tensor(name)
    except TypeError:  # numpy has no such type
        raise UnreadableCheckpointError(
            f"{path.name} holds {name} in a type that cannot be read"
        ) from None
    return as_float32(values, str(values.dtype))


def _read_bfloat16(path: Path, name: str) -> NDArray[Any]:
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
        entry = json.loads(file.read(header_bytes))[name]  # checked by the library before
        begin, end = entry["data_offsets"]
        file.seek(LENGTH_BYTES + header_bytes + begin)
        values = np.frombuffer(file.read(end - begin), "<u2").reshape(entry["shape"])
    return as_float32(values, "bfloat16")
