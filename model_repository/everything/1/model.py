"""Stage `everything`: image file -> every mask in it, with progress on the way."""

from __future__ import annotations

from collections.abc import Generator

from ovseg.manifest import ModelManifest
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.everything.called_stages import CalledStages
from ovseg.stages.everything.generate import find_everything
from ovseg.stages.everything.parameters import EverythingParameters
from ovseg.stages.everything.tensors import tensors_of
from ovseg.stages.settings import StageSettings
from ovseg.stages.triton import Array
from ovseg.stages.triton_streaming import StreamingModel, TritonCaller


class TritonPythonModel(StreamingModel):
    """Runs `find_everything` over the other stages of its model."""

    def load(self, settings: StageSettings) -> None:
        self._settings = settings
        self._manifest = ModelManifest.load(settings.model_folder)

    def stream(
        self, inputs: dict[str, Array], wanted: set[str], caller: TritonCaller
    ) -> Generator[dict[str, Array], None, None]:
        settings = self._settings
        parameters = EverythingParameters.from_tensors(inputs, settings)
        parameters.check(settings.everything_max_points, settings.everything_points_per_batch)
        if not self._manifest.predicts_iou:
            raise InvalidInputError("pred_iou_thresh", "this model does not predict any IoU")
        stages = CalledStages(inputs["image"], caller, settings, self._manifest.input_size)
        for item in find_everything(stages, self._manifest.input_size, parameters):
            yield tensors_of(item, stages.draw if "overlay" in wanted else None)
