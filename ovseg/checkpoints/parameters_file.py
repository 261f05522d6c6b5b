"""A program's weights file: how long it must be, and where each tensor lies in it.

Paddle takes no notice of a truncated one.

Source: Paddle's tensor stream (paddle/phi/core/framework/dense_tensor_serialize.cc). Each tensor
is a version (4 bytes), a level count (8), a version (4), the length of its description (4), the
description (a protobuf message: data type, then dimensions), and its elements.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg.checkpoints.errors import UnreadableCheckpointError

_HEADER_BYTES = 4 + 8 + 4 + 4
_ELEMENT_BYTES = {
    "0.t_f64": 8,
    "0.t_i64": 8,
    "0.t_f32": 4,
    "0.t_i32": 4,
    "0.t_f16": 2,
    "0.t_bf16": 2,
    "0.t_i8": 1,
    "0.t_ui8": 1,
    "0.t_bool": 1,
}

# By Paddle's codes of data types, in the file itself.
_BYTES_OF_CODE = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}


def operations_of(program: Path) -> list[dict[str, Any]]:
    """The operations of a program in Paddle's PIR form, as its JSON has them.

    Raises:
        ValueError, KeyError, TypeError, IndexError: it is not of that form.
    """
    operations: list[dict[str, Any]] = json.loads(program.read_bytes())["program"]["regions"][0][
        "blocks"
    ][0]["ops"]
    return operations


def check_parameters_file(program: Path, parameters: Path) -> None:
    """Refuse weights that end before the program's last tensor does.

    Args:
        program: `inference.json`, a program in Paddle's PIR form.
        parameters: its `inference.pdiparams`.

    Raises:
        UnreadableCheckpointError: the file is too short.
    """
    expected, found = expected_bytes(program), parameters.stat().st_size
    if found < expected:
        raise UnreadableCheckpointError(f"{parameters} is truncated: {found} bytes of {expected}")


def expected_bytes(program: Path) -> int:
    """Length of the weights file that belongs to a program; 0 where its form is not known."""
    try:
        types = [op["O"]["TT"]["D"] for op in operations_of(program) if op["#"] == "p"]
        return sum(_tensor_bytes(dtype["#"], shape) for dtype, shape, *_ in types)
    except (ValueError, KeyError, TypeError, IndexError):
        return 0


def _tensor_bytes(dtype: str, shape: list[int]) -> int:
    description = 2 + sum(1 + _varint_bytes(size) for size in shape)
    return _HEADER_BYTES + description + math.prod(shape) * _ELEMENT_BYTES[dtype]


def _varint_bytes(value: int) -> int:
    """Bytes of a protobuf varint: seven bits each."""
    return max(1, math.ceil(value.bit_length() / 7))


@dataclass(frozen=True)
class Parameter:
    """One tensor of a weights file.

    Attributes:
        name: of the program's parameter.
        data_type: Paddle's code of the elements' type (framework.proto, VarType.Type).
        shape: sizes of the dimensions.
        offset: of the first element, in bytes from the start of the file.
        length: of all elements, in bytes.
    """

    name: str
    data_type: int
    shape: tuple[int, ...]
    offset: int
    length: int


def locate_parameters(program: Path, parameters: Path) -> list[Parameter]:
    """Where the weights of a program lie; Paddle writes them in the order of their names.

    Args:
        program: `inference.json`, a program in Paddle's PIR form.
        parameters: its `inference.pdiparams`.

    Raises:
        UnreadableCheckpointError: the files do not belong together.
    """
    try:
        shapes = {
            op["A"][3]: tuple(op["O"]["TT"]["D"][1])
            for op in operations_of(program)
            if op["#"] == "p"
        }
        located = []
        with parameters.open("rb") as file:
            for name in sorted(shapes):
                header = file.read(_HEADER_BYTES)
                data_type, shape = _read_description(
                    file.read(int.from_bytes(header[-4:], "little"))
                )
                if shape != shapes[name]:
                    raise ValueError(f"{name} has another shape")
                length = math.prod(shape) * _BYTES_OF_CODE[data_type]
                located.append(Parameter(name, data_type, shape, file.tell(), length))
                file.seek(length, 1)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreadableCheckpointError(
            f"{parameters} is not the weights of {program}: {error}"
        ) from None
    return located


def _read_description(message: bytes) -> tuple[int, tuple[int, ...]]:
    """A tensor's data type and shape, from the protobuf message TensorDesc."""
    data_type, shape = -1, []
    position = 0
    while position < len(message):
        tag = message[position]
        value, position = _read_varint(message, position + 1)
        if tag == 0x08:  # field 1, a varint
            data_type = value
        elif tag == 0x10:  # field 2, one varint for each dimension
            shape.append(value)
        else:
            raise ValueError("a tensor has no description")
    return data_type, tuple(shape)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """A protobuf varint, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
