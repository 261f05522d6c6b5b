"""Stage `preprocess`: image file -> padded UINT8 pixels and sizes."""

from __future__ import annotations

import numpy as np

from ovseg.manifest import ModelManifest
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs `decode_image` and `resize_longest_side`."""

    def load(self, settings: StageSettings) -> None:
        self._settings = settings
        self._side = ModelManifest.load(settings.model_folder).input_size

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        original = decode_image(
            inputs["image"].item(),
            self._settings.max_image_pixels,
            self._settings.max_image_side,
            self._settings.accepted_image_formats,
        )
        pixels, input_size = resize_longest_side(original, self._side)
        return {
            "pixels": pixels[None],
            "input_size": np.array([input_size], np.int32),
            "original_size": np.array(original.shape[:2], np.int32),
        }
