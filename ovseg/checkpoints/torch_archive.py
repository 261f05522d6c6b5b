"""A reader of torch's zip checkpoints (`torch.save` since torch 1.6) that needs no torch.

The archive holds one pickle, `<root>/data.pkl`, in which tensors refer to raw little-endian
storages, `<root>/data/<key>` (torch/serialization.py, torch/_utils.py). A pickle may name any
function to be called, so this unpickler admits the handful of names that state dicts need and
refuses every other: opening a checkpoint of unknown origin cannot run code.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ovseg.checkpoints.errors import (
    CheckpointError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from ovseg.checkpoints.stored_tensor import StoredTensor, as_float32

WRAPPER_NAMES = ("model", "state_dict", "model_state_dict", "model_state")
MAX_PICKLE_BYTES = 64 * 1024 * 1024  # a state dict's pickle is well below a megabyte


@dataclass(frozen=True, slots=True)
class StorageType:
    """Stands for a torch storage class: what its elements are called, and how numpy reads them."""

    dtype: str
    numpy_dtype: str


STORAGE_TYPES = {
    "FloatStorage": StorageType("float32", "<f4"),
    "DoubleStorage": StorageType("float64", "<f8"),
    "HalfStorage": StorageType("float16", "<f2"),
    "BFloat16Storage": StorageType("bfloat16", "<u2"),
    "LongStorage": StorageType("int64", "<i8"),
    "IntStorage": StorageType("int32", "<i4"),
    "ShortStorage": StorageType("int16", "<i2"),
    "CharStorage": StorageType("int8", "<i1"),
    "ByteStorage": StorageType("uint8", "<u1"),
    "BoolStorage": StorageType("bool", "?"),
}


@dataclass(frozen=True, slots=True)
class Storage:
    """One raw buffer of the archive."""

    member: str
    type: StorageType
    num_elements: int


def read_torch_archive(path: Path) -> dict[str, StoredTensor]:
    """Read the names and shapes of a state dict; the values follow when they are asked for.

    A training script's dictionary, with the state dict under a usual name, is as good.

    Raises:
        UnreadableCheckpointError: the file is no torch checkpoint, damaged, or not a state dict.
        UnsafeCheckpointError: the pickle names a function that state dicts do not need.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            state_dict = _without_wrapper(_unpickle(path, archive))
    except zipfile.BadZipFile:
        raise UnreadableCheckpointError(
            f"{path.name} is not a torch checkpoint, or is truncated "
            "(only the zip format of torch 1.6 and later is read)"
        ) from None
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(tensor, StoredTensor)
        for name, tensor in state_dict.items()
    ):
        raise UnreadableCheckpointError(
            f"{path.name} is not a state dict (a flat dictionary of tensors)"
        )
    return dict(state_dict)


def _without_wrapper(content: object) -> object:
    """The state dict that a training script saved together with other things."""
    if isinstance(content, dict):
        for name in WRAPPER_NAMES:
            if isinstance(content.get(name), dict):
                return content[name]
    return content


def _unpickle(path: Path, archive: zipfile.ZipFile) -> object:
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UnreadableCheckpointError(f"{path.name} is a zip file, but not a torch checkpoint")
    root = pickles[0].removesuffix("data.pkl")
    byte_order = members.get(f"{root}byteorder")
    if byte_order is not None and archive.read(byte_order) != b"little":
        raise UnreadableCheckpointError(f"{path.name} holds big-endian tensors")
    if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise UnreadableCheckpointError(f"{path.name} has a pickle too large for a state dict")
    try:
        with archive.open(pickles[0]) as stream:
            return _StateDictUnpickler(stream, path, root, members).load()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise UnreadableCheckpointError(f"{path.name} has a damaged pickle: {error!r}") from None


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of tensors, and nothing else."""

    def __init__(
        self, stream: IO[bytes], path: Path, root: str, members: dict[str, zipfile.ZipInfo]
    ) -> None:
        super().__init__(stream, encoding="utf-8")
        self._path = path
        self._root = root
        self._members = members
        self._admitted: dict[tuple[str, str], object] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            **{("torch", name): storage_type for name, storage_type in STORAGE_TYPES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise UnsafeCheckpointError(
                f"{self._path.name} asks for {module}.{name}, which a state dict has no need of; "
                "refused, because loading it could run code"
            ) from None

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage_type, key, _device, num_elements = pid
        member = f"{self._root}data/{key}"
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise UnreadableCheckpointError(f"{self._path.name} has an unknown kind of storage")
        expected_bytes = num_elements * np.dtype(storage_type.numpy_dtype).itemsize
        info = self._members.get(member)
        if info is None or info.file_size < expected_bytes:
            raise UnreadableCheckpointError(f"{self._path.name} lacks data of storage {key}")
        if info.compress_type != zipfile.ZIP_STORED:  # torch never does; it could be a zip bomb
            raise UnreadableCheckpointError(f"{self._path.name} holds compressed tensors")
        return Storage(member, storage_type, num_elements)

    def _rebuild_tensor(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_grad_and_hooks: object,
    ) -> StoredTensor:
        """Stands for `torch._utils._rebuild_tensor_v2`; offset and strides count elements."""
        is_empty = 0 in shape
        last = offset + sum(
            (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
        )
        if min(offset, *shape, *strides, 0) < 0 or (not is_empty and last >= storage.num_elements):
            raise UnreadableCheckpointError(
                f"{self._path.name} has a tensor that reaches beyond its storage"
            )
        return StoredTensor(
            tuple(shape),
            partial(_read_tensor, self._path, storage, offset, shape, strides),
            storage.type.dtype,
        )


def _rebuild_parameter(data: StoredTensor, *_grad_and_hooks: object) -> StoredTensor:
    """Stands for `torch._utils._rebuild_parameter`: a parameter is a tensor here."""
    return data


def _read_tensor(
    path: Path,
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(storage.member)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UnreadableCheckpointError(f"{path.name} is damaged: {error}") from None
    elements = np.frombuffer(content, dtype=storage.type.numpy_dtype)
    if 0 in shape:
        return as_float32(np.empty(shape, elements.dtype), storage.type.dtype)
    view = np.lib.stride_tricks.as_strided(
        elements[offset:],
        shape,
        [stride * elements.itemsize for stride in strides],
        writeable=False,
    )
    return as_float32(np.asarray(view, order="C"), storage.type.dtype)
