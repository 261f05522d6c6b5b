"""`open-vocabulary-segmentation`: the REST API as a Triton model, JSON text in and out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array, StageModel

if TYPE_CHECKING:
    from ovseg_gateway.in_process import InProcessGateway


class TritonPythonModel(StageModel):
    """Runs a gateway of its own, which calls the ensemble of the Triton that it is in."""

    works_alone = False

    def load(self, settings: StageSettings) -> None:
        """Nothing: requests find all they need."""

    @cached_property
    def _gateway(self) -> InProcessGateway:
        # At the first request: few services get any, and importing it takes seconds, which all
        # others would wait for when Triton starts.
        from ovseg_gateway.in_process import InProcessGateway

        from ovseg.settings import get_settings

        return InProcessGateway(get_settings())

    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        answer = self._gateway.answer(inputs["input"].item())
        return {"output": np.array([[answer]], np.object_)}

    def finalize(self) -> None:
        """Triton's hook: the model is unloaded."""
        if "_gateway" in self.__dict__:
            self._gateway.close()
