"""Torch's files without torch: every type and layout, and nothing that runs code."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import (
    CheckpointError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from ovseg.checkpoints.torch_archive import read_torch_archive

Rewrite = Callable[..., Path]


def write_archive(path: Path, root_object: object, protocol: int = 2) -> Path:
    """A zip file laid out as torch's, around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(root_object, protocol))
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", "3\n")
    return path


def assert_one_line(error: pytest.ExceptionInfo[CheckpointError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "name",
    [
        "float32",
        "float16",
        "bfloat16",
        "float64",
        "int64",
        "transposed",
        "offset",
        "strided",
        "expanded",
        "scalar",
        "empty",
        "parameter",
    ],
)
def test_reads_what_torch_saved(golden_folder: Path, name: str) -> None:
    tensors = read_torch_archive(golden_folder / "dtypes.pth")
    expected = np.load(golden_folder / "dtypes.npz")
    assert set(tensors) == set(expected)
    values = tensors[name].read()
    assert tensors[name].shape == values.shape == expected[name].shape
    assert values.dtype == expected[name].dtype
    assert (values == expected[name]).all()


def test_reads_a_state_dict_of_torch(tiny_checkpoint: Path) -> None:
    tensors = read_checkpoint(tiny_checkpoint)
    assert tensors["image_encoder.blocks.0.attn.qkv.weight"].shape == (96, 32)
    assert np.isfinite(tensors["mask_decoder.iou_token.weight"].read()).all()


class Malicious:
    """Pickles as a call of a function, as an attacker's object would."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, __import__, getattr, os.remove, pickle.loads],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_refuses_to_call_functions(tmp_path: Path, function: Any, protocol: int) -> None:
    canary = tmp_path / "canary"
    payload = {"weight": Malicious(function, f"touch {canary}")}
    path = write_archive(tmp_path / "evil.pth", payload, protocol)
    with pytest.raises(UnsafeCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "evil.pth", function.__name__, "refused")
    assert not canary.exists()


def test_refuses_dotted_names_below_admitted_ones(tmp_path: Path) -> None:
    # Protocol 4 can name attributes of attributes: collections.OrderedDict.fromkeys.
    path = tmp_path / "dotted.pth"
    write_archive(path, {"weight": Malicious(collections.OrderedDict.fromkeys, "ab")}, 4)
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize("root_object", [[1, 2], "text", {"weight": 3}, {5: {}}, None])
def test_refuses_what_is_not_a_state_dict(tmp_path: Path, root_object: object) -> None:
    path = write_archive(tmp_path / "other.pth", root_object)
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "other.pth", "not a state dict")


@pytest.mark.parametrize("name", ["model", "state_dict", "model_state_dict", "model_state"])
def test_a_training_scripts_dictionary_is_opened(tmp_path: Path, name: str) -> None:
    content = {"epoch": 3, "optimizer": {"lr": 0.1, "groups": [{}]}, name: {}}
    assert read_checkpoint(write_archive(tmp_path / "training.pth", content)) == {}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(tmp_path / "absent.pth")
    assert_one_line(error, "absent.pth", "No such file")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(tmp_path)
    assert_one_line(error, "directory")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_file(tmp_path: Path, tiny_checkpoint: Path, share: float) -> None:
    content = tiny_checkpoint.read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "cut.pth", "truncated")


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"<html>Not found</html>"])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "not a torch checkpoint")


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "not a torch checkpoint")


def test_damaged_pickle(tiny_checkpoint: Path, rewrite_archive: Rewrite) -> None:
    path = rewrite_archive(tiny_checkpoint, {"data.pkl": b"\x80\x02}q\x00(X\x03\x00"})
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "damaged pickle")


@pytest.mark.parametrize("content", [None, b"short"])
def test_lost_storage(
    tiny_checkpoint: Path, rewrite_archive: Rewrite, content: bytes | None
) -> None:
    path = rewrite_archive(tiny_checkpoint, {"data/3": content})
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "lacks data of storage 3")


def test_big_endian_file(tiny_checkpoint: Path, rewrite_archive: Rewrite) -> None:
    path = rewrite_archive(tiny_checkpoint, {"byteorder": b"big"})
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "big-endian")


def test_compressed_storages_could_be_a_bomb(
    tiny_checkpoint: Path, rewrite_archive: Rewrite
) -> None:
    path = rewrite_archive(tiny_checkpoint, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "compressed")


def test_flipped_bit_in_a_storage(tmp_path: Path, tiny_checkpoint: Path) -> None:
    tensors = read_torch_archive(tiny_checkpoint)
    wanted = tensors["image_encoder.pos_embed"].read().ravel()[1000:1004].tobytes()
    content = bytearray(tiny_checkpoint.read_bytes())
    content[content.index(wanted)] ^= 1
    path = tmp_path / "flipped.pth"
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpointError) as error:
        read_torch_archive(path)["image_encoder.pos_embed"].read()
    assert_one_line(error, "flipped.pth", "damaged")


class TensorPickler(pickle.Pickler):
    """Writes tensors as torch does, with any numbers."""

    def persistent_id(self, value: Any) -> Any:
        return value if isinstance(value, tuple) and value[:1] == ("storage",) else None


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (17,), (1,)), (16, (1,), (1,)), (0, (4, 4), (5, 1)), (-1, (2,), (1,)), (8, (2,), (-1,))],
)
def test_tensors_stay_within_their_storage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> None:
    import io
    import sys
    import types

    torch: Any = types.ModuleType("torch")
    torch_utils: Any = types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None:
        """Pickled by name."""

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    torch_utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", torch_utils)

    storage = ("storage", torch.FloatStorage, "0", "cpu", 16)
    tensor = Malicious(_rebuild_tensor_v2, storage, offset, shape, strides, False, {})
    stream = io.BytesIO()
    TensorPickler(stream, 2).dump({"weight": tensor})
    path = tmp_path / "beyond.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/data/0", bytes(64))
    with pytest.raises(UnreadableCheckpointError) as error:
        read_checkpoint(path)
    assert_one_line(error, "beyond its storage")
