"""Listening on a port, and whether one is free."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from ovseg.server.errors import PortInUseError, ServerStartError


def check_port_free(host: str, port: int, setting: str) -> None:
    """Refuse to start on a taken port, before anything slow is done; arguments as `listen`'s.

    Raises:
        PortInUseError: somebody listens there.
        ServerStartError: the address cannot be listened on at all.
    """
    listen(host, port, setting, backlog=1).close()


def listen(host: str, port: int, setting: str, backlog: int) -> socket.socket:
    """Listen on a port.

    Args:
        host: address to listen on.
        port: TCP port.
        setting: the environment variable that chooses the port, for the message.
        backlog: connections that may wait to be accepted.

    Raises:
        PortInUseError: somebody listens there.
        ServerStartError: the address cannot be listened on at all.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as on_error:
            listener = on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
            # As servers do, so that a port in TIME_WAIT from the last run does not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(backlog)
            on_error.pop_all()
            return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use; stop what listens there or set {setting}"
            ) from None
        raise ServerStartError(f"cannot listen on {host}:{port} ({setting}): {error}") from None


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
