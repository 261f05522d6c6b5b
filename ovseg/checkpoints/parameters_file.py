"""How long a program's weights file must be: Paddle takes no notice of a truncated one.

Source: Paddle's tensor stream (paddle/phi/core/framework/dense_tensor_serialize.cc). Each tensor
is a version (4 bytes), a level count (8), a version (4), the length of its description (4), the
description (a protobuf message: data type, then dimensions), and its elements.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

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
        operations = json.loads(program.read_bytes())["program"]["regions"][0]["blocks"][0]["ops"]
        types = [operation["O"]["TT"]["D"] for operation in operations if operation["#"] == "p"]
        return sum(_tensor_bytes(dtype["#"], shape) for dtype, shape, *_ in types)
    except (ValueError, KeyError, TypeError, IndexError):
        return 0


def _tensor_bytes(dtype: str, shape: list[int]) -> int:
    description = 2 + sum(1 + _varint_bytes(size) for size in shape)
    return _HEADER_BYTES + description + math.prod(shape) * _ELEMENT_BYTES[dtype]


def _varint_bytes(value: int) -> int:
    """Bytes of a protobuf varint: seven bits each."""
    return max(1, math.ceil(value.bit_length() / 7))
