"""The mask decoder's rearranged products against the layers that they stand for."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from ovseg.network.attention import Attention, CellsToTokens, TokensToCells
from ovseg.network.mask_decoder import ComputedCells, MaskDecoder, Upscaling
from ovseg.network.variants import MaskDecoderConfig

CHANNELS, GRID, PROMPTS, TOKENS = 32, 8, 3, 7


def randomly_filled(layer: nn.Layer) -> nn.Layer:
    random = np.random.default_rng(0)
    for parameter in layer.parameters():
        parameter.set_value(random.normal(0, 0.3, parameter.shape).astype(np.float32))
    layer.eval()
    return layer


def random_tensor(*shape: int, seed: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def close(ours: paddle.Tensor, expected: paddle.Tensor) -> None:
    assert np.abs(expected.numpy()).max() > 0.1
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=2e-5)


@pytest.mark.parametrize("images", [1, PROMPTS], ids=["one image", "an image each"])
def test_attention_of_tokens_is_that_of_projected_cells(images: int) -> None:
    layer = randomly_filled(TokensToCells(CHANNELS, num_heads=4, reduction=2))
    tokens = random_tensor(PROMPTS, TOKENS, CHANNELS, seed=1)
    placed, cells = (random_tensor(images, GRID**2, CHANNELS, seed=seed) for seed in (2, 3))
    shape = [PROMPTS, GRID**2, CHANNELS]
    expected = Attention.forward(layer, tokens, placed.expand(shape), cells.expand(shape))
    close(layer(tokens, placed, cells), expected)


@pytest.mark.parametrize("images", [1, PROMPTS], ids=["one image", "an image each"])
def test_attention_of_cells_is_that_of_projected_cells(images: int) -> None:
    layer = randomly_filled(CellsToTokens(CHANNELS, num_heads=4, reduction=2))
    placed, tokens = (random_tensor(PROMPTS, TOKENS, CHANNELS, seed=seed) for seed in (1, 2))
    cells = random_tensor(images, GRID**2, CHANNELS, seed=3)
    expected = Attention.forward(layer, cells.expand([PROMPTS, GRID**2, CHANNELS]), placed, tokens)
    close(layer(cells, placed, tokens), expected)


def test_upscaling_of_rows_is_two_transposed_convolutions() -> None:
    layer = randomly_filled(Upscaling(CHANNELS))
    image = random_tensor(PROMPTS, CHANNELS, GRID, GRID, seed=1)
    cells = image.flatten(start_axis=2).transpose([0, 2, 1])
    rows = layer(ComputedCells(cells, paddle.zeros_like(cells)))
    decoder = MaskDecoder(CHANNELS, GRID, MaskDecoderConfig())
    close(decoder._arranged(rows.transpose([0, 2, 1])), nn.Sequential.forward(layer, image))
