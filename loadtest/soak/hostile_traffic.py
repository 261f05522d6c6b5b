"""Callers who are slow, hang up, or speak no HTTP; alone, or all at once."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from loadtest.soak.bad_traffic import BadTraffic
from loadtest.soak.exchanges import Addresses, Exchange, head, raw
from loadtest.soak.good_traffic import GoodTraffic, questions
from loadtest.soak.hostile_server import PHOTO
from loadtest.soak.trials import Trial
from ovseg.bench.workload import unseen

SLOW_S = 3.0
"""How long a slow caller takes to send a body."""

_question, _request = next(iter(questions().items()))


class HostileTraffic:
    """Each kind in turn at random."""

    def next(self, numbers: random.Random) -> Trial:
        """Another hostile request."""
        return numbers.choice(_KINDS)(numbers)


class MixedTraffic:
    """What the callers of the soak send."""

    def __init__(self, hostile_url: str) -> None:
        """`hostile_url` is the address of a `hostile_server`."""
        self.good = GoodTraffic(f"{hostile_url}/{PHOTO}")
        self._sources = (self.good, BadTraffic(hostile_url), HostileTraffic())

    def next(self, numbers: random.Random) -> Trial:
        """Another request of any kind."""
        return numbers.choices(self._sources, (6, 3, 1))[0].next(numbers)


def leaving(numbers: random.Random) -> Trial:
    """Asks about a new image and does not wait for the answer."""
    delay_s = numbers.uniform(0.0, 0.4)
    body = replace(_request, image=unseen(_request.image)).body()

    def act(connection: socket.socket) -> bool:
        connection.sendall(head(len(body)) + body)
        time.sleep(delay_s)
        return False

    return _hostile("leaves before the answer", act)


def _leaves_in_body(numbers: random.Random) -> Trial:
    body = _request.body()
    length = numbers.randrange(1, len(body))

    def act(connection: socket.socket) -> bool:
        connection.sendall(head(len(body)) + body[:length])
        return False

    return _hostile("leaves within its body", act)


def _slow_body(_numbers: random.Random) -> Trial:
    body = _request.body()

    def act(connection: socket.socket) -> bool:
        connection.sendall(head(len(body)))
        parts = 10
        step = -(-len(body) // parts)
        for start in range(0, len(body), step):
            connection.sendall(body[start : start + step])
            time.sleep(SLOW_S / parts)
        return True

    return Trial("slow body", "hostile", _sender(act), question=_question)


def _half_closed(_numbers: random.Random) -> Trial:
    body = _request.body()

    def act(connection: socket.socket) -> bool:
        connection.sendall(head(len(body)) + body)
        connection.shutdown(socket.SHUT_WR)
        return True

    # The server may take the end of the stream for the caller's leaving.
    return Trial(
        "half-closed connection", "hostile", _sender(act), question=_question, may_be_cut=True
    )


def _garbage(numbers: random.Random) -> Trial:
    garbage = numbers.randbytes(200) + b"\r\n\r\n"

    def act(connection: socket.socket) -> bool:
        connection.sendall(garbage)
        return True

    return Trial("no HTTP", "hostile", _sender(act), (400,), may_be_cut=True)


def _hostile(kind: str, act: Callable[[socket.socket], bool]) -> Trial:
    return Trial(kind, "hostile", _sender(act))


def _sender(act: Callable[[socket.socket], bool]) -> Callable[[Addresses], Exchange]:
    return lambda addresses: raw(addresses, act)


_KINDS = (leaving, _leaves_in_body, _slow_body, _half_closed, _garbage)
