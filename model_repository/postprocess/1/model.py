"""Stage `postprocess`: low-res mask logits -> COCO RLE counts."""

from __future__ import annotations

from ovseg.manifest import ModelManifest
from ovseg.stages.masks import low_res_masks_to_rle
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs `low_res_masks_to_rle`."""

    def load(self, settings: StageSettings) -> None:
        self._side = ModelManifest.load(settings.model_folder).input_size

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        height, width = inputs["original_size"].tolist()
        counts = low_res_masks_to_rle(inputs["mask_logits"], self._side, (height, width))
        return {"counts": counts, "mask_counts": counts, "size": inputs["original_size"]}
