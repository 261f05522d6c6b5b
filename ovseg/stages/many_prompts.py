"""Many prompts on one image: what the decoder computes of the image alone is computed once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovseg.engines import Array, Engine
from ovseg.manifest import IMAGE_TERMS

Floats = NDArray[np.float32]

# The terms of an image take as long as one to two prompts, and save a quarter of each one's time
# (loadtest/decoder_speed.py).
PROMPTS_THAT_PAY = 6


class ManyPromptsDecoder:
    """The decoder that works with an image's terms (`ovseg/network/low_rank_cells.py`).

    It keeps the terms of one image, the last, and knows it by its whole embedding. Where prompts
    on several images take turns, none of them has prompts enough.

    Args:
        image_terms: the program `image_terms`.
        terms_decoder: the program `terms_decoder`.
    """

    def __init__(self, image_terms: Engine, terms_decoder: Engine) -> None:
        self._image_terms = image_terms
        self._terms_decoder = terms_decoder
        self._embedding: Floats | None = None
        self._prompts = 0
        self._terms: dict[str, Array] = {}

    def is_worth_it(self, embedding: Floats, prompts: int) -> bool:
        """Whether to run this decoder for further prompts on an image; if so, it is ready to.

        It is for an image that has had `PROMPTS_THAT_PAY` with these.
        """
        if self._embedding is None or not np.array_equal(self._embedding, embedding):
            self._embedding, self._prompts, self._terms = embedding.copy(), 0, {}
        self._prompts += prompts
        if not self._terms and self._prompts >= PROMPTS_THAT_PAY:
            terms = self._image_terms.run(embedding=embedding)
            self._terms = dict(zip(IMAGE_TERMS, terms, strict=True))
        return bool(self._terms)

    def run(self, **prompts: Array) -> tuple[Array, ...]:
        """What the program `prompt_decoder` gives for the same prompts on the image."""
        return self._terms_decoder.run(**self._terms, **prompts)
