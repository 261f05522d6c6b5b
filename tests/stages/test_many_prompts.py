"""When an image's terms are computed, and whose prompts are decoded with them."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.engines import Array
from ovseg.manifest import IMAGE_TERMS, TERMS_DECODER_TOKENS
from ovseg.stages.many_prompts import AT_A_TIME, PROMPTS_THAT_PAY, ManyPromptsDecoder
from ovseg.stages.prompt_decoder import SamPromptDecoder
from ovseg.stages.prompts import Prompts


class Programs:
    """All of a decoder's programs: a mask tells the embedding that it is of, and its prompt."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def program(self, name: str) -> Program:
        return Program(name, self.ran)


class Program:
    def __init__(self, name: str, ran: list[str]) -> None:
        self._name, self._ran = name, ran

    def run(self, **inputs: Array) -> tuple[Array, ...]:
        self._ran.append(self._name)
        if self._name == "image_terms":
            return tuple(inputs["embedding"].ravel()[:1] for _ in IMAGE_TERMS)
        if self._name == "mask_encoder":
            return (inputs["embedding"],)
        image = inputs["placed"] if self._name == "pairs" else inputs["embedding"]
        if self._name == "pairs":
            assert inputs["point_coords"].shape == (AT_A_TIME, TERMS_DECODER_TOKENS, 2)
            assert inputs["point_labels"].shape == (AT_A_TIME, TERMS_DECODER_TOKENS)
        scores = image.ravel()[0] + inputs["point_coords"][:, 0, :1] + inputs["mask_index"] / 8
        return np.broadcast_to(scores[:, :, None, None], (*scores.shape, 256, 256)), scores


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def decoder(programs: Programs) -> SamPromptDecoder:
    return SamPromptDecoder(
        programs.program("prompt_decoder"),
        programs.program("mask_encoder"),
        ManyPromptsDecoder(programs.program("image_terms"), programs.program("pairs")),
    )


def broken(**_: Array) -> tuple[Array, ...]:
    raise RuntimeError("as an engine whose memory is half overwritten")


def embedding(number: float) -> Array:
    return np.full((1, 64, 64, 256), number, np.float32)


def decode(
    decoder: SamPromptDecoder, image: Array, count: int, points: int = 0, multimask: bool = False
) -> None:
    """Decode boxes with points, and check that each mask is of this image and of its prompt."""
    coords = np.arange(count * (points + 2) * 2, dtype=np.float32).reshape(count, -1, 2)
    labels = np.tile(np.array([[*[1] * points, 2, 3]], np.int32), (count, 1))
    masks, scores = decoder.decode(image, Prompts(coords, labels), None, multimask)
    candidates = np.array([1, 2, 3] if multimask else [0])
    expected = image.ravel()[0] + coords[:, 0, :1] + candidates / 8
    np.testing.assert_array_equal(masks[:, :, 7, 7], expected)
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("multimask", [False, True])
def test_many_prompts_are_decoded_in_pairs_with_terms_that_are_computed_once(
    decoder: SamPromptDecoder, programs: Programs, multimask: bool
) -> None:
    decode(decoder, embedding(100), PROMPTS_THAT_PAY, multimask=multimask)
    decode(decoder, embedding(100), PROMPTS_THAT_PAY + 1, multimask=multimask)
    pairs = PROMPTS_THAT_PAY // AT_A_TIME
    assert programs.ran == ["image_terms", *["pairs"] * (2 * pairs + 1)]


def test_what_was_asked_before_does_not_choose_the_program(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    decode(decoder, embedding(100), PROMPTS_THAT_PAY)
    programs.ran.clear()
    for count in (1, PROMPTS_THAT_PAY - 1):
        decode(decoder, embedding(100), count)
    assert set(programs.ran) == {"prompt_decoder"}


def test_another_image_is_never_decoded_with_the_terms_of_the_last(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    image = embedding(100)
    decode(decoder, image, PROMPTS_THAT_PAY)
    other = image.copy()
    other[0, -1, -1, -1] += 1  # one number of a million
    decode(decoder, other, PROMPTS_THAT_PAY)
    other += 5  # The same array with another image in it, as of a buffer that is used again.
    decode(decoder, other, PROMPTS_THAT_PAY)
    assert programs.ran.count("image_terms") == 3


def test_terms_that_could_not_be_computed_are_not_taken_for_the_images(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms, pairs = programs.program("image_terms"), programs.program("pairs")
    many = ManyPromptsDecoder(terms, pairs)
    decoder = SamPromptDecoder(programs.program("plain"), programs.program("mask_encoder"), many)
    decode(decoder, embedding(100), PROMPTS_THAT_PAY)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(terms, "run", broken)
        decode(decoder, embedding(200), PROMPTS_THAT_PAY)
    decode(decoder, embedding(100), PROMPTS_THAT_PAY)
    assert programs.ran.count("image_terms") == 2


def test_prompts_of_more_tokens_are_decoded_as_ever(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    decode(decoder, embedding(100), PROMPTS_THAT_PAY, points=1)
    assert set(programs.ran) == {"prompt_decoder"}


def test_prompts_with_a_mask_input_have_an_image_of_their_own(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    coords = np.zeros((PROMPTS_THAT_PAY, 2, 2), np.float32)
    labels = np.tile(np.array([[2, 3]], np.int32), (PROMPTS_THAT_PAY, 1))
    mask_input = np.zeros((PROMPTS_THAT_PAY, 256, 256), np.float32)
    decoder.decode(embedding(100), Prompts(coords, labels), mask_input, False)
    assert programs.ran == ["mask_encoder", "prompt_decoder"] * PROMPTS_THAT_PAY
