"""`open-vocabulary-segmentation`: the REST API as a Triton model, JSON text in and out."""

from __future__ import annotations

import numpy as np
from ovseg_gateway.in_process import InProcessGateway

from ovseg.settings import Settings
from ovseg.stages.triton import Array, StageModel


class TritonPythonModel(StageModel):
    """Runs a gateway of its own, which calls the ensemble of the Triton that it is in."""

    works_alone = False

    def load(self, settings: Settings) -> None:
        self._gateway = InProcessGateway(settings)

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        answer = self._gateway.answer(inputs["input"].item())
        return {"output": np.array([[answer]], np.object_)}

    def finalize(self) -> None:
        """Triton's hook: the model is unloaded."""
        self._gateway.close()
