"""Many prompts on one image: what the decoder computes of the image alone is computed once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ovseg.engines import Array, Engine
from ovseg.manifest import IMAGE_TERMS, TERMS_DECODER_PROMPTS, TERMS_DECODER_TOKENS
from ovseg.stages.prompts import Prompts

Floats = NDArray[np.float32]

# An image's terms take as long as one or two prompts, and save a third of each one's time
# (loadtest/decoder_speed.py).
PROMPTS_THAT_PAY = 4


class ManyPromptsDecoder:
    """The decoder that works with an image's terms (`ovseg/network/low_rank_cells.py`).

    It keeps the terms of one image, the last that it was used for, and knows that image by its
    whole embedding.

    Args:
        image_terms: the program `image_terms`.
        terms_decoder: the program `terms_decoder`.
    """

    def __init__(self, image_terms: Engine, terms_decoder: Engine) -> None:
        self._image_terms = image_terms
        self._terms_decoder = terms_decoder
        self._embedding: Floats | None = None
        self._terms: dict[str, Array] = {}

    def is_worth_it(self, embedding: Floats, prompts: Prompts) -> bool:
        """Whether this decoder is the faster one for prompts with the same number of tokens.

        It is for boxes or points, of which it takes two at a time.
        """
        if prompts.labels.shape[1] != TERMS_DECODER_TOKENS or len(prompts) < TERMS_DECODER_PROMPTS:
            return False
        return len(prompts) >= PROMPTS_THAT_PAY or self._has_terms_of(embedding)

    def decode(
        self, embedding: Floats, prompts: Prompts, mask_index: NDArray[np.int32]
    ) -> Iterator[tuple[slice, Floats, Floats]]:
        """Decode such prompts on an image.

        Args:
            embedding: float32, of one image, as `ImageEncoder.encode` gives it.
            prompts: N prompts in the model's input frame.
            mask_index: int32 [M], the masks wanted, as the program `prompt_decoder` takes them.

        Yields:
            Which prompts, their masks, float32 [n, M, 256, 256] logits, and the predicted IoU of
            each, float32 [n, M].
        """
        if not self._has_terms_of(embedding):
            terms = self._image_terms.run(embedding=embedding)
            self._terms = dict(zip(IMAGE_TERMS, terms, strict=True))
            self._embedding = embedding.copy()
        for start in range(0, len(prompts), TERMS_DECODER_PROMPTS):
            part = slice(start, min(start + TERMS_DECODER_PROMPTS, len(prompts)))
            # The last one is decoded twice where it would be alone.
            rows = np.arange(start, start + TERMS_DECODER_PROMPTS).clip(max=len(prompts) - 1)
            masks, scores = self._terms_decoder.run(
                **self._terms,
                point_coords=prompts.coords[rows],
                point_labels=prompts.labels[rows],
                mask_index=mask_index,
            )
            count = part.stop - part.start
            yield part, masks[:count], scores[:count]

    def _has_terms_of(self, embedding: Floats) -> bool:
        return self._embedding is not None and np.array_equal(self._embedding, embedding)
