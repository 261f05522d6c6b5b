"""The stages of one model, called through Triton for one image."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.everything.candidates import Candidates
from ovseg.stages.everything.crops import Crop
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.prompts import FOREGROUND
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton_streaming import TritonCaller

Floats = NDArray[np.float32]


class CalledStages:
    """`ImageModels` over Triton."""

    def __init__(
        self, image: NDArray[Any], caller: TritonCaller, settings: StageSettings, side: int
    ) -> None:
        """Nothing is called yet.

        Args:
            image: BYTES [1], an image file.
            caller: calls Triton's models for the request.
            settings: limits of images.
            side: the model's input size.
        """
        self._image = image
        self._call = caller
        self._settings = settings
        self._side = side

    def embed(self) -> tuple[Floats, tuple[int, int]]:
        """See `ImageModels.embed`; from Triton's cache if it is there."""
        found = self._call("embed", {"image": self._image}, ["embedding", "original_size"])
        height, width = found["original_size"].tolist()
        return found["embedding"], (height, width)

    def embed_crop(self, crop: Crop) -> Floats:
        """See `ImageModels.embed_crop`; not cached, for it would push whole images out."""
        part = np.ascontiguousarray(self._pixels[crop.top : crop.bottom, crop.left : crop.right])
        pixels, input_size = resize_longest_side(part, self._side)
        tensors: dict[str, NDArray[Any]] = {
            "pixels": pixels[None],
            "input_size": np.array([input_size], np.int32),
        }
        return self._call("sam_encoder", tensors, ["embedding"])["embedding"]

    def decode(
        self, embedding: Floats, size: tuple[int, int], points: Floats
    ) -> tuple[Floats, Floats]:
        """See `ImageModels.decode`."""
        tensors: dict[str, NDArray[Any]] = {
            "embedding": embedding,
            "original_size": np.array(size, np.int32),
            "multimask": np.array([True]),
            **_prompts(points),
        }
        found = self._call("prompt_decoder", tensors, ["low_res_masks", "scores"])
        return found["low_res_masks"], found["scores"]

    def draw(self, masks: Candidates) -> NDArray[Any]:
        """The picture with all masks: BYTES [1], a JPEG file."""
        tensors = {
            "image": self._image,
            "mask_counts": masks.counts[:, None],
            "mask_scores": masks.scores[:, None],
            **_prompts(masks.points),
        }
        return self._call("visualize", tensors, ["overlay"])["overlay"]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        settings = self._settings
        return decode_image(
            self._image.item(),
            settings.max_image_pixels,
            settings.max_image_side,
            settings.accepted_image_formats,
        )


def _prompts(points: Floats) -> dict[str, NDArray[Any]]:
    """One point on the object each: points [N, 2]."""
    return {
        "point_coords": points[:, None],
        "point_labels": np.full((len(points), 1), FOREGROUND, np.int32),
    }
