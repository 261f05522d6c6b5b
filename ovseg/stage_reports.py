"""How long each stage took, told by the stage to the gateway that asked: one datagram a stage.

Triton's answer cannot carry it: its statistics do not tell concurrent requests apart, and a timing
tensor of the encoder would be replayed from the response cache. A datagram is sent only by a stage
that ran, so an encoder that says nothing did not run. It goes to an abstract Unix socket (no file,
gone with its owner), whose name is the upper half of the request's correlation id; the ensemble
hands that id to every step. Where gateway and Triton do not share a machine, nothing arrives, and
nothing waits for it.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress

_ID_BITS = 32
_MESSAGE_LIMIT = 128
_LONGEST_WAIT_S = 0.005
"""For a gateway that is behind with reading: Linux queues 10 datagrams by default."""


class StageReporter:
    """The sending side, in a stage's process."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_LONGEST_WAIT_S)

    def report(self, correlation_id: int | str, seconds: float) -> None:
        """Tell the gateway, if there is one behind `correlation_id`; never fails, hardly waits."""
        if not isinstance(correlation_id, int) or not correlation_id >> _ID_BITS:
            return
        message = f"{correlation_id} {self._stage} {seconds:.6f}".encode()
        # Nobody listens there, or is too busy to: the answer itself does not need it.
        with suppress(OSError):
            self._socket.sendto(message, _address(correlation_id >> _ID_BITS))


class StageReports:
    """The receiving side, one for each gateway process."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._own_id = secrets.randbelow(2 ** (_ID_BITS - 1) - 1) + 1
        self._socket.bind(_address(self._own_id))
        self._latest = 0
        self._open: dict[int, dict[str, float]] = {}

    def fileno(self) -> int:
        """For an event loop's `add_reader(reports, reports.receive)`, so that no queue fills."""
        return self._socket.fileno()

    def open_request(self) -> int:
        """A correlation id for one request (below 2**63, as Triton wants); `close_request` it."""
        self._latest = (self._latest + 1) % 2**_ID_BITS
        correlation_id = self._own_id << _ID_BITS | self._latest
        self._open[correlation_id] = {}
        return correlation_id

    def close_request(self, correlation_id: int) -> Mapping[str, float]:
        """Seconds that each stage took for this request; empty if none could tell.

        A stage reports before its answer goes on, so nothing is missing when the answer is here.
        """
        self.receive()
        return self._open.pop(correlation_id)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> None:
        """Take in what has arrived."""
        while True:
            try:
                message = self._socket.recv(_MESSAGE_LIMIT)
            except BlockingIOError:
                return
            correlation_id, _, rest = message.partition(b" ")
            stage, _, seconds = rest.partition(b" ")
            try:
                # What comes too late, after a timeout, belongs to no open request.
                found = self._open[int(correlation_id)]
                name = stage.decode("ascii")
                found[name] = found.get(name, 0.0) + float(seconds)
            except (KeyError, ValueError):
                continue


def embedding_was_cached(stage_seconds: Mapping[str, float]) -> bool | None:
    """Whether an image's embedding came from Triton's cache; None if the stages did not say.

    Preprocessing tells: the encoder runs for parts of a known image too, where everything in it is
    asked for, and as a plan of Triton's TensorRT backend it reports nothing.

    Args:
        stage_seconds: as `StageReports.close_request` returns them.
    """
    if "prompt_decoder" not in stage_seconds:
        return None
    return "preprocess" not in stage_seconds


def _address(gateway_id: int) -> bytes:
    return b"\0ovseg-stage-reports-%d" % gateway_id
