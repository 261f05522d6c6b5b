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

# An image's terms take as long as one or two prompts, and save a quarter of one prompt's time, a
# third of each of two at a time (loadtest/decoder_speed.py).
PROMPTS_THAT_PAY = 5
AT_A_TIME = 2


class ManyPromptsDecoder:
    """The decoder that works with an image's terms (`ovseg/network/low_rank_cells.py`).

    It keeps the terms of one image, the last that had prompts enough, and knows that image by its
    whole embedding. Where prompts on several images take turns, none of them has.

    Args:
        image_terms: the program `image_terms`.
        for_one: the program `terms_decoder`, for one prompt.
        for_two: the same program, for `AT_A_TIME`.
    """

    def __init__(self, image_terms: Engine, for_one: Engine, for_two: Engine) -> None:
        self._image_terms = image_terms
        self._for_one, self._for_two = for_one, for_two
        self._embedding: Floats | None = None
        self._prompts = 0
        self._terms: dict[str, Array] = {}

    def is_worth_it(self, embedding: Floats, prompts: Prompts) -> bool:
        """Whether to run this decoder for prompts that have all the same number of tokens.

        It is for boxes and points, on an image that has had `PROMPTS_THAT_PAY` with these. If so,
        the image's terms are known afterwards.
        """
        if prompts.labels.shape[1] != TERMS_DECODER_TOKENS:
            return False
        if self._embedding is None or not np.array_equal(self._embedding, embedding):
            self._embedding, self._prompts, self._terms = embedding.copy(), 0, {}
        self._prompts += len(prompts)
        if not self._terms and self._prompts >= PROMPTS_THAT_PAY:
            terms = self._image_terms.run(embedding=embedding)
            self._terms = dict(zip(IMAGE_TERMS, terms, strict=True))
        return bool(self._terms)

    def decode(
        self, prompts: Prompts, mask_index: NDArray[np.int32]
    ) -> Iterator[tuple[slice, Floats, Floats]]:
        """Decode prompts that it is worth it for, on the image that they were asked about.

        Args:
            prompts: N prompts in the model's input frame.
            mask_index: int32 [M], the masks wanted, as the program `prompt_decoder` takes them.

        Yields:
            Which prompts, their masks, float32 [n, M, 256, 256] logits, and the predicted IoU of
            each, float32 [n, M].
        """
        for start in range(0, len(prompts), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            coords, labels = prompts.coords[part], prompts.labels[part]
            engine = self._for_two if len(labels) == AT_A_TIME else self._for_one
            masks, scores = engine.run(
                **self._terms, point_coords=coords, point_labels=labels, mask_index=mask_index
            )
            yield part, masks, scores


def load_many_prompts_decoder(model_folder: Path, threads: int) -> ManyPromptsDecoder:
    """The programs of an installed model, in OpenVINO and float32.

    Raises:
        EngineError: one of them cannot be loaded.
    """
    # Takes a second.
    from ovseg.engines.openvino import OpenVinoEngine

    def of(count: int) -> Engine:
        rows = {"point_coords": count, "point_labels": count}
        return OpenVinoEngine(model_folder / "terms_decoder", threads, "fp32", rows=rows)

    terms = OpenVinoEngine(model_folder / "image_terms", threads, "fp32", shares_outputs=True)
    return ManyPromptsDecoder(terms, for_one=of(1), for_two=of(AT_A_TIME))
