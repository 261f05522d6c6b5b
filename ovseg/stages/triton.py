"""What the `model.py` of stages have in common: unpack tensors, call, pack tensors.

Only Triton's python backend imports this module's users; `triton_python_backend_utils` exists
only inside its stub process, so it is imported when a stage runs.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.logs import configure_logging, log_id_now, short_log_id
from ovseg.stage_clock import StageClock
from ovseg.stage_reports import StageReporter
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.settings import StageSettings

Array = NDArray[Any]

logger = logging.getLogger(__name__)


def unpack(request: Any) -> tuple[dict[str, Array], set[str]]:
    """A request's tensors by name, and the names of the outputs that somebody asked for."""
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return inputs, set(request.requested_output_names())


def pack(outputs: Mapping[str, Array], wanted: set[str]) -> Any:
    """The `InferenceResponse` with those outputs that are wanted."""
    import triton_python_backend_utils as pb_utils

    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor(name, np.ascontiguousarray(array))
            for name, array in outputs.items()
            if name in wanted
        ]
    )


class TritonModel(ABC):
    """Base of all of them: settings, and what the configuration says."""

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's hook: load the stage, or raise with the reason in the message."""
        self._name = args["model_name"]
        # A further model's stages are named `<stage>.<model>`.
        settings = StageSettings.handed_down()
        configure_logging(settings.log_level, settings.log_format)
        parameters = json.loads(args["model_config"]).get("parameters", {})
        self.parameters = {name: value["string_value"] for name, value in parameters.items()}
        # A set that serves another model than the default names it in its configuration.
        if model := self.parameters.get("model"):
            settings = replace(settings, model=model)
        self.load(settings)

    @abstractmethod
    def load(self, settings: StageSettings) -> None:
        """Prepare whatever requests need."""

    def error_of(self, error: Exception) -> Any:
        """What the caller gets to know of an exception, as a `TritonError`; the log has the rest.

        An `InvalidInputError` becomes INVALID_ARGUMENT; anything else is our fault, and INTERNAL.
        """
        import triton_python_backend_utils as pb_utils

        if isinstance(error, InvalidInputError):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        logger.error("stage %s failed", self._name, exc_info=error)
        message = f"stage {self._name} failed: {type(error).__name__}: {error}"
        return pb_utils.TritonError(message)


class StageModel(TritonModel):
    """Base of each stage that gives one answer to each request.

    A stage overrides `load`, called once, and `run`, called for each request.
    """

    works_alone = True
    """Whether all its time is its own, so that much of it tells a hang; not if it asks others."""

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's hook: load the stage, or raise with the reason in the message."""
        # A further model's stages are named `<stage>.<model>`.
        self._reporter = StageReporter(args["model_name"].partition(".")[0])
        self._clock = StageClock()
        super().initialize(args)

    @abstractmethod
    def run(self, inputs: dict[str, Array], wanted: set[str]) -> dict[str, Array]:
        """Answer one request.

        Args:
            inputs: the request's tensors by name; absent optional ones are left out.
            wanted: names of the outputs that somebody asked for.

        Returns:
            Outputs by name; those not wanted are dropped.
        """

    def execute(self, requests: list[Any]) -> list[Any]:
        """Triton's hook: answer a list of requests."""
        answers = []
        for request in requests:
            started = time.perf_counter()
            log_id_now.set(short_log_id(request.request_id()))
            with self._clock.running() if self.works_alone else nullcontext():
                answers.append(self._answer(request))
            seconds = time.perf_counter() - started
            self._reporter.report(request.correlation_id(), seconds)
            logger.debug("stage %s took %.1f ms", self._name, seconds * 1e3)
        return answers

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as pb_utils

        try:
            inputs, wanted = unpack(request)
            return pack(self.run(inputs, wanted), wanted)
        except Exception as error:
            return pb_utils.InferenceResponse(error=self.error_of(error))
