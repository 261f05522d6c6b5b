"""A tensor of a checkpoint that is read from its file only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A named array that is still on disk.

    Names and shapes can so be checked before any weights are read, and a model of several
    gigabytes is never in memory twice.
    """

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    """Read the values: float32, or the stored integer type."""
    dtype: str = "float32"
    """How the checkpoint stores them: "float32", "float16", "bfloat16", "int64", …"""


def as_float32(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Widen half-precision values to float32; leave other types alone.

    Args:
        values: as stored; bfloat16, which numpy lacks, as uint16 of the same bits.
        dtype: the stored type, such as "float16", "bfloat16", "int64".
    """
    if dtype == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if dtype in ("float16", "float64") else values
