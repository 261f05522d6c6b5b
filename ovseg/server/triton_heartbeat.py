"""Does tritonserver answer, and what does it serve? Asked every second, beside the real work."""

from __future__ import annotations

import time
from threading import Event, Thread

from ovseg.served_models import ServedModel

_INTERVAL_S = 1.0
_TIMEOUT_S = 5.0
_SILENCE = ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED")


class Heartbeat:
    """Asks in a thread of its own, so that a server that hangs holds nobody up.

    Use as a context manager.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._answered_at = time.monotonic()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="triton-heartbeat", daemon=True)
        self.served: list[ServedModel] = []
        """What it served at the last answer."""

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._answered_at

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def _run(self) -> None:
        from tritonclient.utils import InferenceServerException

        from ovseg.server.model_control import connected

        with connected(self._address) as control:
            while not self._stopping.wait(_INTERVAL_S):
                try:
                    self.served = control.served(_TIMEOUT_S)
                except InferenceServerException as error:
                    if error.status() in _SILENCE:
                        continue  # Any other is an answer, such as that a model is gone meanwhile.
                self._answered_at = time.monotonic()
