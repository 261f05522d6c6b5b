"""What can go wrong while the server starts."""

from __future__ import annotations


class ServerStartError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


class PortInUseError(ServerStartError):
    """Another process listens on a port that the settings name."""
