"""Stage `visualize`: image file and masks -> JPEG picture."""

from __future__ import annotations

import numpy as np

from ovseg.stages.image import decode_image
from ovseg.stages.overlay import draw_best_masks, encode_jpeg
from ovseg.stages.prompts import Prompts
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs `draw_best_masks` and `encode_jpeg`."""

    def load(self, settings: StageSettings) -> None:
        self._settings = settings

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        pixels = decode_image(
            inputs["image"].item(),
            self._settings.max_image_pixels,
            self._settings.max_image_side,
            self._settings.accepted_image_formats,
        )
        picture = draw_best_masks(
            pixels,
            inputs["mask_counts"],
            inputs["mask_scores"],
            Prompts(inputs["point_coords"], inputs["point_labels"]),
        )
        file = encode_jpeg(picture, self._settings.overlay_jpeg_quality)
        return {"overlay": np.array([file], np.object_)}
