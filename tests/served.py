"""The stages of an installed model, one after another, as Triton runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg.manifest import ModelManifest
from ovseg.settings import Settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.image import resize_longest_side
from ovseg.stages.masks import low_res_masks_to_rle
from ovseg.stages.prompt_decoder import load_prompt_decoder
from ovseg.stages.prompts import Prompts

PHOTO = np.random.default_rng(5).integers(0, 256, (150, 200, 3), dtype=np.uint8)
BOXES = Prompts(
    np.array([[[20, 30], [120, 100]], [[5, 60], [190, 140]], [[80, 10], [90, 149]]], np.float32),
    np.tile(np.array([2, 3], np.int32), (3, 1)),
)
POINTS = Prompts(np.array([[[100, 75]], [[10, 140]]], np.float32), np.ones((2, 1), np.int32))


class ServedModel:
    """An installed model's stages."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(model=folder.name, model_dir=folder.parent, threads=1)
        self.side = ModelManifest.load(folder).input_size
        self.encoder = load_image_encoder(settings)
        self.decoder = load_prompt_decoder(settings)

    def embed(self, photo: NDArray[np.uint8] = PHOTO) -> NDArray[np.float32]:
        """The photo's embedding, [1, C, h, w]."""
        pixels, input_size = resize_longest_side(photo, self.side)
        return self.encoder.encode(pixels[None], np.array([input_size], np.int32))

    def decode(self, embedding: NDArray[np.float32], prompts: Prompts) -> NDArray[np.float32]:
        """Low-res masks, [N, 1, 256, 256], of prompts in the photo's pixels."""
        masks, _ = self.decoder.decode(
            embedding, prompts.scaled(PHOTO.shape[:2], self.side), None, False
        )
        return masks

    def rles(self, masks: NDArray[np.float32]) -> list[str]:
        """The run-length texts that clients get for them."""
        height, width = PHOTO.shape[:2]
        return list(low_res_masks_to_rle(masks, self.side, (height, width)).ravel())
