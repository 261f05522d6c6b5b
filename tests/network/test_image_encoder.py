"""The encoder's parts against their definitions, and the encoder program's own promises."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from ovseg.manifest import PIXEL_MEAN, PIXEL_STD
from ovseg.network.image_encoder import RelativePositionAttention, join_windows, split_windows
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.serving import EncoderProgram
from ovseg.network.variants import VARIANTS


def fill_randomly(layer: paddle.nn.Layer, seed: int = 0) -> None:
    """Give every parameter values that matter (zeros would hide mistakes)."""
    random = np.random.default_rng(seed)
    for parameter in layer.parameters():
        values = random.normal(0, 0.3, parameter.shape)
        parameter.set_value(values.astype(np.float32))


@pytest.mark.parametrize(("grid", "window"), [(64, 14), (8, 4), (5, 3)])
def test_windows_come_back(grid: int, window: int) -> None:
    tokens = paddle.arange(2 * grid * grid * 3, dtype="float32").reshape([2, grid * grid, 3])
    windows = split_windows(tokens, grid, window)
    assert windows.shape[1] == window**2
    assert (join_windows(windows, grid, window).numpy() == tokens.numpy()).all()


def test_windows_are_squares_padded_with_zeros() -> None:
    grid = np.arange(1, 26, dtype=np.float32).reshape(5, 5)
    windows = split_windows(paddle.to_tensor(grid.reshape(1, 25, 1)), 5, 3).numpy()
    padded = np.pad(grid, (0, 1))
    assert windows.shape == (4, 9, 1)
    assert (windows[1, :, 0] == padded[:3, 3:].ravel()).all()
    assert (windows[2, :, 0] == padded[3:, :3].ravel()).all()


def attend_by_definition(
    layer: RelativePositionAttention, area: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Attention with decomposed relative positions, [rows, columns, dim], term by term."""
    rows, columns, dim = area.shape
    weight, bias = layer.qkv.weight.numpy(), layer.qkv.bias.numpy()
    row_table = layer.rel_pos_h.numpy().astype(np.float64)
    column_table = layer.rel_pos_w.numpy().astype(np.float64)
    qkv = area.reshape(-1, dim).astype(np.float64) @ weight + bias
    qkv = qkv.reshape(rows * columns, 3, layer.num_heads, layer.head_dim)
    heads = []
    for head in range(layer.num_heads):
        query, key, value = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
        scores = query @ key.T / np.sqrt(layer.head_dim)
        for i in range(rows * columns):
            for j in range(rows * columns):
                row_offset = i // columns - j // columns + rows - 1
                column_offset = i % columns - j % columns + columns - 1
                scores[i, j] += query[i] @ (row_table[row_offset] + column_table[column_offset])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ value)
    attended = np.concatenate(heads, axis=1)
    attended = attended @ layer.proj.weight.numpy() + layer.proj.bias.numpy()
    return attended.reshape(rows, columns, dim)


@pytest.mark.parametrize("num_heads", [2, 4])
def test_global_attention_matches_its_definition(num_heads: int) -> None:
    layer = RelativePositionAttention(dim=8, num_heads=num_heads, grid_size=5, window_size=None)
    fill_randomly(layer)
    grid = np.random.default_rng(1).normal(size=(5, 5, 8)).astype(np.float32)
    ours = layer(paddle.to_tensor(grid.reshape(1, 25, 8))).numpy().reshape(5, 5, 8)
    np.testing.assert_allclose(ours, attend_by_definition(layer, grid), atol=1e-5)


def test_padding_takes_part_in_window_attention() -> None:
    layer = RelativePositionAttention(dim=8, num_heads=2, grid_size=5, window_size=3)
    fill_randomly(layer)
    grid = np.random.default_rng(2).normal(size=(5, 5, 8)).astype(np.float32)
    ours = layer(paddle.to_tensor(grid.reshape(1, 25, 8))).numpy().reshape(5, 5, 8)
    padded = np.pad(grid, ((0, 1), (0, 1), (0, 0)))
    expected = attend_by_definition(layer, padded[3:, 3:])[:2, :2]
    np.testing.assert_allclose(ours[3:, 3:], expected, atol=1e-5)


@pytest.fixture(scope="module")
def encoder() -> EncoderProgram:
    program = EncoderProgram(SegmentAnything(VARIANTS["sam_tiny"]))
    fill_randomly(program)
    program.eval()
    return program


def test_what_lies_in_the_padding_does_not_matter(encoder: EncoderProgram) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1, 1024, 1024, 3), dtype=np.uint8)
    size = np.array([[600, 1024]], np.int32)
    other = pixels.copy()
    other[:, 600:] = 0
    first = encoder(paddle.to_tensor(pixels), paddle.to_tensor(size))
    second = encoder(paddle.to_tensor(other), paddle.to_tensor(size))
    assert (first.numpy() == second.numpy()).all()


def test_normalisation_makes_padding_exactly_zero(encoder: EncoderProgram) -> None:
    seen = {}

    class Spy(paddle.nn.Layer):
        def forward(self, image: paddle.Tensor) -> paddle.Tensor:
            seen["image"] = image.numpy()
            return image

    program = EncoderProgram(SegmentAnything(VARIANTS["sam_tiny"]))
    program.image_encoder = Spy()
    pixels = np.full((1, 1024, 1024, 3), 200, np.uint8)
    program(paddle.to_tensor(pixels), paddle.to_tensor(np.array([[1024, 700]], np.int32)))
    image = seen["image"]
    assert (image[..., 700:] == 0).all()
    mean, std = np.float32(PIXEL_MEAN), np.float32(PIXEL_STD)
    expected = (np.float32(200) - mean) / std
    np.testing.assert_allclose(image[0, :, 5, 699], expected, rtol=1e-6)


def test_images_of_a_batch_do_not_touch_each_other(encoder: EncoderProgram) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, 1024, 1024, 3), dtype=np.uint8)
    sizes = np.array([[600, 1024], [1024, 300]], np.int32)
    together = encoder(paddle.to_tensor(pixels), paddle.to_tensor(sizes)).numpy()
    for index in range(2):
        alone = encoder(
            paddle.to_tensor(pixels[index : index + 1]), paddle.to_tensor(sizes[index : index + 1])
        ).numpy()
        np.testing.assert_allclose(together[index], alone[0], atol=1e-4)
