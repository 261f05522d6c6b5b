"""Stage `sam_encoder`: padded UINT8 pixels -> image embedding."""

from __future__ import annotations

from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs `ImageEncoder.encode`."""

    def load(self, settings: StageSettings) -> None:
        self._encoder = load_image_encoder(settings)

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        return {"embedding": self._encoder.encode(inputs["pixels"], inputs["input_size"])}
