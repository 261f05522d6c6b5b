"""Inputs of Triton's models, from what Python has."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput
from tritonclient.utils import np_to_triton_dtype


def image_input(image: bytes) -> InferInput:
    """The tensor `image`, BYTES [1]."""
    tensor = InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image], dtype=np.object_))
    return tensor


def array_input(name: str, array: npt.NDArray[Any]) -> InferInput:
    """A tensor of numbers."""
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
