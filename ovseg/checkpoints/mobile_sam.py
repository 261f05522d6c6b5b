"""MobileSAM's checkpoints: batch normalisation folded into the convolutions before it.

At inference `bn(conv(x)) = scale * (conv(x) - mean) + bias` with `scale = weight / sqrt(var + eps)`
is a convolution again, of `weight * scale`, with the bias `bias - mean * scale`. In the file
(ChaoningZhang/MobileSAM, `modeling/tiny_vit_sam.py`) such a pair is `<path>.c` and `<path>.bn`; in
our network it is one convolution, `<path>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.checkpoints.errors import MissingKeyError, WrongShapeError
from ovseg.checkpoints.stored_tensor import StoredTensor

EPSILON = 1e-5
# TinyViT's classifier, which the file keeps although SAM has no use for it.
UNUSED_PREFIXES = ("image_encoder.norm_head.", "image_encoder.head.")

_CONV_SUFFIX = ".c.weight"
_NORM_NAMES = ("weight", "bias", "running_mean", "running_var")


def fold_batch_norms(tensors: Mapping[str, StoredTensor], source: str) -> dict[str, StoredTensor]:
    """The tensors of a MobileSAM checkpoint, under the names and in the shapes of our network.

    Args:
        tensors: the checkpoint's tensors, by its own keys.
        source: the checkpoint's name, for messages.

    Raises:
        MissingKeyError, WrongShapeError: a normalisation lacks a part, or does not fit its
            convolution; one line that names it.
    """
    folded = {key: value for key, value in tensors.items() if not _is_dropped(key)}
    for path in _paths_of_pairs(folded):
        if path + _CONV_SUFFIX not in folded:
            raise MissingKeyError(f"{source} lacks {path}{_CONV_SUFFIX}")
        kernel = folded.pop(path + _CONV_SUFFIX)
        norm = []
        for name in _NORM_NAMES:
            norm_key = f"{path}.bn.{name}"
            if norm_key not in folded:
                raise MissingKeyError(f"{source} lacks {norm_key}")
            norm.append(folded.pop(norm_key))
            if norm[-1].shape != kernel.shape[:1]:
                raise WrongShapeError(
                    f"{source} has {norm_key} of shape {list(norm[-1].shape)}, "
                    f"expected {list(kernel.shape[:1])}"
                )
        folded[f"{path}.weight"] = StoredTensor(
            kernel.shape, partial(_folded_kernel, kernel, norm), kernel.dtype
        )
        folded[f"{path}.bias"] = StoredTensor(
            kernel.shape[:1], partial(_folded_bias, norm), kernel.dtype
        )
    return folded


def _paths_of_pairs(tensors: Mapping[str, StoredTensor]) -> list[str]:
    """Where a convolution with its normalisation is, or half of one, in the file's order."""
    found = (re.match(r"(image_encoder\..+)\.(?:c|bn)\.\w+$", key) for key in tensors)
    return list(dict.fromkeys(match[1] for match in found if match))


def _is_dropped(key: str) -> bool:
    return key.endswith(".num_batches_tracked") or key.startswith(UNUSED_PREFIXES)


def _folded_kernel(kernel: StoredTensor, norm: list[StoredTensor]) -> NDArray[Any]:
    scale, _ = _scale_and_bias(norm)
    values = kernel.read()
    folded: NDArray[Any] = values * scale.reshape(-1, *[1] * (values.ndim - 1))
    return folded.astype(np.float32)


def _folded_bias(norm: list[StoredTensor]) -> NDArray[Any]:
    return _scale_and_bias(norm)[1].astype(np.float32)


def _scale_and_bias(norm: list[StoredTensor]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """In float64, so that folding adds no error of its own."""
    weight, bias, mean, variance = (tensor.read().astype(np.float64) for tensor in norm)
    scale = weight / np.sqrt(variance + EPSILON)
    return scale, bias - mean * scale
