"""Stage `prompt_decoder`: embedding and prompts -> low-res masks and predicted IoU."""

from __future__ import annotations

from ovseg.manifest import ModelManifest
from ovseg.stages.prompt_decoder import check_mask_input, load_prompt_decoder
from ovseg.stages.prompts import Prompts
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs `PromptDecoder.decode` on checked prompts in the model's input frame."""

    def load(self, settings: StageSettings) -> None:
        self._settings = settings
        self._side = ModelManifest.load(settings.model_folder).input_size
        self._decoder = load_prompt_decoder(settings)

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        prompts = Prompts(inputs["point_coords"], inputs["point_labels"])
        prompts.check(self._settings.max_prompts, self._settings.max_coordinate)
        mask_input = inputs.get("mask_input")
        check_mask_input(mask_input, len(prompts))
        height, width = inputs["original_size"].tolist()
        masks, scores = self._decoder.decode(
            inputs["embedding"],
            prompts.scaled((height, width), self._side),
            mask_input,
            multimask="multimask" in inputs and bool(inputs["multimask"].item()),
        )
        return {
            "low_res_masks": masks,
            "mask_logits": masks,
            "scores": scores,
            "mask_scores": scores,
        }
