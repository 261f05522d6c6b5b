"""How prompts reach a decoder program: batching, candidates, fused programs."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.engines import Array
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.prompt_decoder import (
    PROMPTS_PER_RUN,
    FusedPromptDecoder,
    SamPromptDecoder,
    check_mask_input,
)
from ovseg.stages.prompts import Prompts

EMBEDDING = np.zeros((1, 256, 64, 64), np.float32)


class FirstCoordinateEngine:
    """Its masks are the first x of the prompt plus the candidate's number, so rows can be told."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Array]] = []

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        self.calls.append(inputs)
        if "prompts" in inputs:
            first = inputs["prompts"].reshape(-1, inputs["prompts"].shape[-1])[:, 0]
            return (np.broadcast_to(first[:, None, None, None], (len(first), 1, 256, 256)),)
        first = inputs["point_coords"][:, 0, 0]
        scores = first[:, None] + inputs["mask_index"].astype(np.float32)
        shape = (*scores.shape, 256, 256)
        return np.broadcast_to(scores[:, :, None, None], shape), scores


class SumEngine:
    """A mask encoder whose embeddings are the mask input's first number more."""

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        return (inputs["embedding"] + inputs["mask_input"][:, :1, :1, None],)


def sam_decoder(engine: FirstCoordinateEngine) -> SamPromptDecoder:
    return SamPromptDecoder(engine, SumEngine())


def boxes(count: int) -> Prompts:
    coords = np.arange(count * 4, dtype=np.float32).reshape(count, 2, 2)
    return Prompts(coords, np.tile(np.array([2, 3], np.int32), (count, 1)))


def test_rows_keep_their_place_through_batches_and_groups() -> None:
    engine = FirstCoordinateEngine()
    coords = np.arange(20 * 4, dtype=np.float32).reshape(20, 2, 2)
    labels = np.where(np.arange(20)[:, None] % 3 == 0, [[1, 0]], [[2, 3]]).astype(np.int32)
    masks, scores = sam_decoder(engine).decode(EMBEDDING, Prompts(coords, labels), None, False)
    np.testing.assert_array_equal(masks[:, 0, 0, 0], coords[:, 0, 0])
    np.testing.assert_array_equal(scores[:, 0], coords[:, 0, 0])
    assert max(len(call["point_coords"]) for call in engine.calls) <= PROMPTS_PER_RUN


def test_multimask_returns_the_three_candidates_and_not_the_single_mask() -> None:
    _, scores = sam_decoder(FirstCoordinateEngine()).decode(EMBEDDING, boxes(1), None, True)
    np.testing.assert_array_equal(scores, [[1, 2, 3]])


def test_each_prompt_gets_its_own_mask_input() -> None:
    engine = FirstCoordinateEngine()
    mask_input = np.broadcast_to(np.arange(11, dtype=np.float32)[:, None, None], (11, 256, 256))
    sam_decoder(engine).decode(EMBEDDING, boxes(11), mask_input, False)
    assert [call["embedding"].shape for call in engine.calls] == [EMBEDDING.shape] * 11
    for row, call in enumerate(engine.calls):
        assert (call["embedding"] == row).all()
        np.testing.assert_array_equal(call["point_coords"], boxes(11).coords[row : row + 1])


@pytest.mark.parametrize("shape", [(2, 256, 256), (1, 64, 64)])
def test_a_mask_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"^mask_input: "):
        check_mask_input(np.zeros(shape, np.float32), 1)


def test_a_mask_input_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        check_mask_input(np.full((1, 256, 256), np.inf, np.float32), 1)


def test_fused_programs_get_boxes_together_and_points_one_by_one() -> None:
    box_engine, point_engine = FirstCoordinateEngine(), FirstCoordinateEngine()
    decoder = FusedPromptDecoder({"box": box_engine, "point": point_engine})
    mixed = Prompts(
        np.array([[[1, 2], [3, 4]], [[5, 6], [0, 0]], [[7, 8], [9, 9]]], np.float32),
        np.array([[2, 3], [1, -1], [1, -1]], np.int32),
    )
    masks, scores = decoder.decode(EMBEDDING, mixed, None, False)
    np.testing.assert_array_equal(masks[:, 0, 0, 0], [1, 5, 7])
    assert np.isnan(scores).all()
    assert [call["prompts"].shape for call in box_engine.calls] == [(1, 4)]
    assert [call["prompts"].shape for call in point_engine.calls] == [(1, 1, 2), (1, 1, 2)]


@pytest.mark.parametrize("labels", [[1, 0], [1, 1], [0, -1]])
def test_fused_programs_refuse_what_they_cannot_take(labels: list[int]) -> None:
    decoder = FusedPromptDecoder({"box": FirstCoordinateEngine()})
    prompt = Prompts(np.zeros((1, 2, 2), np.float32), np.array([labels], np.int32))
    with pytest.raises(InvalidInputError, match=r"^point_labels: "):
        decoder.decode(EMBEDDING, prompt, None, False)


def test_a_fused_box_model_refuses_points() -> None:
    decoder = FusedPromptDecoder({"box": FirstCoordinateEngine()})
    point = Prompts(np.zeros((1, 1, 2), np.float32), np.array([[1]], np.int32))
    with pytest.raises(InvalidInputError, match="takes no point prompts"):
        decoder.decode(EMBEDDING, point, None, False)
