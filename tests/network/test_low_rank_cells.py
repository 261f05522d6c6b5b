"""The decoder that never computes a prompt's cells against the one that does."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ovseg.manifest import IMAGE_TERMS
from ovseg.network.image_terms import ImageTerms
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.serving import ImageTermsProgram, PromptDecoderProgram, TermsDecoderProgram
from tests.small_model import SMALL, small_network


@pytest.fixture(scope="module")
def network() -> SegmentAnything:
    network = small_network(seed=3)
    random = np.random.default_rng(3)
    # Norms as training leaves them: each channel has a weight and a bias of its own.
    for block in network.mask_decoder.transformer.layers:
        shape = block.norm4.weight.shape
        block.norm4.weight.set_value(random.uniform(0.3, 2, shape).astype(np.float32))
        block.norm4.bias.set_value(random.normal(0, 0.5, shape).astype(np.float32))
    return network


def random_prompts(count: int, points: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    random = np.random.default_rng(points)
    coords = random.uniform(0, SMALL.input_size, (count, points, 2)).astype(np.float32)
    labels = random.integers(-1, 4, (count, points)).astype(np.int32)
    return paddle.to_tensor(coords), paddle.to_tensor(labels)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(
    ("count", "points", "masks"), [(1, 1, [0]), (4, 2, [0]), (3, 5, [1, 2, 3])]
)
def test_masks_and_scores_are_those_of_computed_cells(
    network: SegmentAnything, count: int, points: int, masks: list[int], scale: float
) -> None:
    random = np.random.default_rng(1)
    values = random.normal(0.2, scale, (1, *SMALL.embedding_shape)).astype(np.float32)
    embedding = paddle.to_tensor(values)
    prompts = (*random_prompts(count, points), paddle.to_tensor(np.array(masks, np.int32)))
    with paddle.no_grad():
        terms = ImageTermsProgram(network)(embedding)
        ours, scores = TermsDecoderProgram(network)(*terms, *prompts)
        expected, expected_scores = PromptDecoderProgram(network)(embedding, *prompts)
    assert ours.shape == [count, len(masks), SMALL.mask_size, SMALL.mask_size]
    largest = np.abs(expected.numpy()).max()
    assert np.std(expected.numpy()) > 0.01 * largest
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=2e-5 * largest)
    np.testing.assert_allclose(scores.numpy(), expected_scores.numpy(), atol=2e-5)


def test_terms_have_the_names_of_the_exported_program() -> None:
    assert ImageTerms._fields == IMAGE_TERMS
