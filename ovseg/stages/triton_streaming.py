"""Stages that answer a request bit by bit, and call other Triton models to do so."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ovseg.logs import log_id_now, short_log_id
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.triton import Array, TritonModel, pack, unpack

# The message of a stage's `InvalidInputError`, behind "in ensemble 'x', ".
_CALLERS_MISTAKE = re.compile(r"(?:^|', )(?P<field>image): (?P<problem>.*)\Z", re.DOTALL)


class CalledModelError(Exception):
    """A called model answered with an error, which is passed on as it is."""

    def __init__(self, error: Any) -> None:
        """Keep a `TritonError`."""
        super().__init__(error.message())
        self.error = error


class StoppedError(Exception):
    """The caller has left, or the request's time is over."""


class TritonCaller:
    """Calls Triton's models on behalf of one request, until its time is over."""

    def __init__(self, request: Any, sender: Any, names: Mapping[str, str]) -> None:
        """Calls come from any thread.

        Args:
            request: as Triton hands it over; its timeout counts from now.
            sender: its `InferenceResponseSender`.
            names: of the Triton models, by the stage's plain name.
        """
        self._sender = sender
        self._names = names
        self._request_id = request.request_id()
        self._correlation_id = request.correlation_id()
        timeout_s = request.timeout() / 1e6
        self._deadline = time.monotonic() + timeout_s if timeout_s else float("inf")

    def check(self) -> None:
        """See whether to go on.

        Raises:
            StoppedError: the caller has left, or the request's time is over.
        """
        if self._sender.is_cancelled() or time.monotonic() > self._deadline:
            raise StoppedError

    def __call__(
        self, stage: str, tensors: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        """Call one stage and wait in its queue like anybody else.

        Raises:
            InvalidInputError: what the caller sent cannot be used.
            CalledModelError: it answered with another error.
            StoppedError: see `check`.
        """
        import triton_python_backend_utils as pb_utils

        self.check()
        response = pb_utils.InferenceRequest(
            model_name=self._names[stage],
            inputs=[
                pb_utils.Tensor(name, np.ascontiguousarray(array))
                for name, array in tensors.items()
            ],
            requested_output_names=list(outputs),
            request_id=self._request_id,
            correlation_id=self._correlation_id,
        ).exec()
        if response.has_error():
            error = response.error()
            # Its code is always INTERNAL.
            if mistake := _CALLERS_MISTAKE.search(error.message()):
                raise InvalidInputError(mistake["field"], mistake["problem"])
            raise CalledModelError(error)
        return {
            name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in outputs
        }


class StreamingModel(TritonModel):
    """Base of each stage that gives any number of answers to a request.

    A stage overrides `load`, called once, and `stream`, called for each request. Its configuration
    names the Triton models that it calls, as parameters.
    """

    @abstractmethod
    def stream(
        self, inputs: dict[str, Array], wanted: set[str], caller: TritonCaller
    ) -> Generator[dict[str, Array], None, None]:
        """Answer one request.

        Args:
            inputs: the request's tensors by name; absent optional ones are left out.
            wanted: names of the outputs that somebody asked for.
            caller: calls other stages.

        Yields:
            Outputs by name, not all of them each time; those not wanted are dropped.
        """

    def execute(self, requests: list[Any]) -> None:
        """Triton's hook: answer a list of requests."""
        for request in requests:
            log_id_now.set(short_log_id(request.request_id()))
            self._answer(request)

    def _answer(self, request: Any) -> None:
        import triton_python_backend_utils as pb_utils

        sender = request.get_response_sender()
        last = None
        try:
            inputs, wanted = unpack(request)
            caller = TritonCaller(request, sender, self.parameters)
            with closing(self.stream(inputs, wanted, caller)) as answers:
                for outputs in answers:
                    caller.check()
                    sender.send(pack(outputs, wanted))
        except StoppedError:
            code = pb_utils.TritonError.CANCELLED
            stopped = pb_utils.TritonError("the request took too long", code)
            last = pb_utils.InferenceResponse(error=stopped)
        except CalledModelError as error:
            last = pb_utils.InferenceResponse(error=error.error)
        except Exception as error:
            last = pb_utils.InferenceResponse(error=self.error_of(error))
        finally:
            # In one call: a final mark after an error can end the whole server.
            sender.send(last, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
