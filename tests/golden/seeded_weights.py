"""Weights that any machine can recreate from a seed, with numpy alone.

Values come from a bit generator's raw output, which numpy promises to keep (its distributions may
change between versions), and each tensor has a stream of its own: neither the order of the tensors
nor the framework that asks for them matters.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 20230405  # the day Segment Anything appeared


def seeded_tensor(name: str, shape: tuple[int, ...], seed: int = SEED) -> NDArray[np.float32]:
    """The tensor of a state dict key, in torch's layout.

    Scales keep activations near 1 through the whole network, make neighbouring positions and
    prompts matter, and give masks of mixed sign.
    """
    centre, spread = _centre_and_spread(name, shape)
    uniform = _uniform([seed, zlib.crc32(name.encode())], math.prod(shape))
    values = np.float32(centre) + np.float32(spread * math.sqrt(3.0)) * uniform
    return values.reshape(shape)


def seeded_state_dict(
    shapes: Mapping[str, tuple[int, ...]], seed: int = SEED
) -> dict[str, NDArray[np.float32]]:
    """Tensors for all keys of a state dict."""
    return {name: seeded_tensor(name, shape, seed) for name, shape in shapes.items()}


def _uniform(entropy: list[int], count: int) -> NDArray[np.float32]:
    """Float32 numbers in [-1, 1), the same everywhere."""
    raw: Any = np.random.PCG64(entropy).random_raw((count + 1) // 2)
    words = raw.astype("<u8").view("<u4")[:count]
    # 24 bits fit a float32 exactly.
    return (words >> 8).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)


def _centre_and_spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's values."""
    if name.endswith(".bias"):
        return 0.0, 0.1
    if name.endswith(".running_mean"):
        return 0.0, 0.2
    if name.endswith("attention_biases"):
        return 0.0, 0.5
    if name.endswith(("gaussian_matrix", "positional_embedding")):
        return 0.0, 1.0
    if "rel_pos" in name:
        return 0.0, 0.15
    if "pos_embed" in name:
        return 0.0, 0.5
    if len(shape) == 1:  # the weight or the variance of a norm
        return 1.0, 0.2
    is_embedding = "_embed" in name and "mask_embed.conv" not in name
    if is_embedding or ("_token" in name and len(shape) == 2 and shape[0] <= 4):
        return 0.0, 1.0
    # Transposed convolutions are [in, out, h, w], all others [out, in, …].
    is_transposed = "output_upscaling" in name or "upscale_conv" in name
    fan_in = shape[0] if is_transposed else math.prod(shape[1:])
    return 0.0, 1.0 / math.sqrt(fan_in)
