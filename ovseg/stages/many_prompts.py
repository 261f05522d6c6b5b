"""Many prompts on one image: what the decoder computes of the image alone is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg.engines import Array, Engine
from ovseg.manifest import IMAGE_TERMS, TERMS_DECODER_TOKENS
from ovseg.stages.prompts import Prompts

Floats = NDArray[np.float32]

# An image's terms take as long as one or two prompts, and save a third of each one's time
# (loadtest/decoder_speed.py).
PROMPTS_THAT_PAY = 4
AT_A_TIME = 2


class ManyPromptsDecoder:
    """The decoder that works with an image's terms (`ovseg/network/low_rank_cells.py`).

    It keeps the terms of one image, the last, and knows that image by its whole embedding.

    Args:
        image_terms: the program `image_terms`.
        pairs: the program `terms_decoder`, for `AT_A_TIME` prompts.
    """

    def __init__(self, image_terms: Engine, pairs: Engine) -> None:
        self._image_terms = image_terms
        self._pairs = pairs
        self._embedding: Floats | None = None
        self._terms: dict[str, Array] = {}

    @staticmethod
    def is_for(prompts: Prompts) -> bool:
        """Whether to decode these, which have all the same number of tokens: many boxes or points.

        That terms are known already does not count: whether a request is the first one must not
        decide which way its masks are rounded.
        """
        has_tokens = prompts.labels.shape[1] == TERMS_DECODER_TOKENS
        return has_tokens and len(prompts) >= PROMPTS_THAT_PAY

    def decode(
        self, embedding: Floats, prompts: Prompts, mask_index: NDArray[np.int32]
    ) -> Iterator[tuple[slice, Floats, Floats]]:
        """Decode many prompts on one image.

        Args:
            embedding: float32, of one image, as `ImageEncoder.encode` gives it.
            prompts: N prompts in the model's input frame.
            mask_index: int32 [M], the masks wanted, as the program `prompt_decoder` takes them.

        Yields:
            Which prompts, their masks, float32 [n, M, 256, 256] logits, and the predicted IoU of
            each, float32 [n, M].
        """
        if self._embedding is None or not np.array_equal(self._embedding, embedding):
            self._embedding = None  # In case that this fails.
            terms = self._image_terms.run(embedding=embedding)
            self._terms = dict(zip(IMAGE_TERMS, terms, strict=True))
            self._embedding = embedding.copy()
        for start in range(0, len(prompts), AT_A_TIME):
            # A last one that has no other is decoded twice.
            rows = np.arange(start, start + AT_A_TIME).clip(max=len(prompts) - 1)
            part = slice(start, rows[-1] + 1)
            masks, scores = self._pairs.run(
                **self._terms,
                point_coords=prompts.coords[rows],
                point_labels=prompts.labels[rows],
                mask_index=mask_index,
            )
            yield part, masks[: part.stop - start], scores[: part.stop - start]


def load_many_prompts_decoder(model_folder: Path, threads: int) -> ManyPromptsDecoder:
    """The programs of an installed model, in OpenVINO and float32.

    Raises:
        EngineError: one of them cannot be loaded.
    """
    # Takes a second.
    from ovseg.engines.openvino import OpenVinoEngine

    rows = {"point_coords": AT_A_TIME, "point_labels": AT_A_TIME}
    return ManyPromptsDecoder(
        OpenVinoEngine(model_folder / "image_terms", threads, "fp32", shares_outputs=True),
        OpenVinoEngine(model_folder / "terms_decoder", threads, "fp32", rows=rows),
    )
