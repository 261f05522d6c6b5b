"""When an image's terms are computed, and whose prompts are decoded with them."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.engines import Array
from ovseg.manifest import IMAGE_TERMS
from ovseg.stages.many_prompts import PROMPTS_THAT_PAY, ManyPromptsDecoder
from ovseg.stages.prompt_decoder import PROMPTS_PER_RUN, SamPromptDecoder
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
        image = inputs["placed"] if self._name == "terms_decoder" else inputs["embedding"]
        scores = image.ravel()[0] + inputs["point_coords"][:, 0, :1]
        return np.broadcast_to(scores[:, :, None, None], (len(scores), 1, 256, 256)), scores


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def decoder(programs: Programs) -> SamPromptDecoder:
    return SamPromptDecoder(
        programs.program("prompt_decoder"),
        programs.program("mask_encoder"),
        ManyPromptsDecoder(programs.program("image_terms"), programs.program("terms_decoder")),
    )


def embedding(number: float) -> Array:
    return np.full((1, 64, 64, 256), number, np.float32)


def decode(decoder: SamPromptDecoder, image: Array, count: int) -> None:
    """Decode boxes, and check that the masks are of this image and these boxes, in order."""
    coords = np.arange(4 * count, dtype=np.float32).reshape(count, 2, 2)
    labels = np.tile(np.array([[2, 3]], np.int32), (count, 1))
    masks, scores = decoder.decode(image, Prompts(coords, labels), None, False)
    expected = image.ravel()[0] + coords[:, 0, 0]
    np.testing.assert_array_equal(masks[:, 0, 7, 7], expected)
    np.testing.assert_array_equal(scores[:, 0], expected)


def test_a_request_with_many_prompts_computes_the_terms_once(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    decode(decoder, embedding(100), 2 * PROMPTS_PER_RUN + 1)
    assert programs.ran == ["image_terms", *["terms_decoder"] * 3]


def test_prompts_that_come_one_by_one_get_there_too(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    for _ in range(PROMPTS_THAT_PAY + 2):
        decode(decoder, embedding(100), 1)
    assert programs.ran == [
        *["prompt_decoder"] * (PROMPTS_THAT_PAY - 1),
        "image_terms",
        *["terms_decoder"] * 3,
    ]


def test_another_image_is_never_decoded_with_the_terms_of_the_last(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    image = embedding(100)
    decode(decoder, image, PROMPTS_THAT_PAY)
    other = image.copy()
    other[0, -1, -1, -1] += 1  # one number of a million
    programs.ran.clear()
    decode(decoder, other, 1)
    assert programs.ran == ["prompt_decoder"]
    image += 5  # The same array with another image in it, as of a buffer that is used again.
    decode(decoder, image, PROMPTS_THAT_PAY)
    assert programs.ran[1] == "image_terms"


def test_images_that_take_turns_do_not_compute_terms_again_and_again(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    for number in (100, 200) * 20:
        decode(decoder, embedding(number), 1)
    assert set(programs.ran) == {"prompt_decoder"}


def test_prompts_with_a_mask_input_have_an_image_of_their_own(
    decoder: SamPromptDecoder, programs: Programs
) -> None:
    decode(decoder, embedding(100), PROMPTS_THAT_PAY)
    programs.ran.clear()
    coords, labels = np.zeros((1, 2, 2), np.float32), np.array([[2, 3]], np.int32)
    mask_input = np.zeros((1, 256, 256), np.float32)
    decoder.decode(embedding(100), Prompts(coords, labels), mask_input, False)
    assert programs.ran == ["mask_encoder", "prompt_decoder"]
