"""Which server a pipeline asks: one that was named, one that runs already, or an embedded one."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import threading
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ovseg_client.client import DEFAULT_ADDRESS, Client
from ovseg_client.errors import ConnectionFailedError, OvsegError

if TYPE_CHECKING:
    from ovseg.embedded import EmbeddedService

ADDRESS_VARIABLE = "OVSEG_URL"
_PROBE_TIMEOUT_S = 30.0

logger = logging.getLogger("ovseg_client")


class ServerNotStartedError(OvsegError):
    """The embedded server did not start; the message says why."""


class Server(Protocol):
    """Where a pipeline's requests go."""

    def client(self) -> Client:
        """A client of a server that runs now.

        Raises:
            ServerNotStartedError: the embedded server is gone and does not start again.
        """

    def close(self) -> None:
        """The pipeline needs it no longer."""


@dataclass(frozen=True)
class Access:
    """How to connect to whichever server it will be; see `Client`."""

    timeout_s: float
    token: str | None = None
    ca_file: str | os.PathLike[str] | None = None

    def client(self, address: str) -> Client:
        return Client(address, timeout=self.timeout_s, token=self.token, ca_file=self.ca_file)


def find_server(url: str | None, model_dirs: tuple[Path, ...], access: Access) -> Server:
    """The server for a pipeline.

    Args:
        url: an address; by default that in the environment variable OVSEG_URL, if any.
        model_dirs: models that an embedded server shall serve; empty: those of the settings.
        access: how to connect.

    Raises:
        ConnectionFailedError: no address, no running server, and no package to start one with.
        ServerNotStartedError: the embedded server does not start.
        ValueError: an address or a setting has an invalid value.
    """
    address = url or os.environ.get(ADDRESS_VARIABLE)
    if address:
        if model_dirs:
            logger.warning(
                "model_dir is ignored: %s serves the models it was started with", address
            )
        return _NamedServer(access.client(address))
    can_start = _can_start()
    if not model_dirs:
        usual = _usual_address() if can_start else DEFAULT_ADDRESS
        with replace(access, timeout_s=_PROBE_TIMEOUT_S).client(usual) as probe:
            is_ready = probe.is_ready()
        if is_ready:
            logger.info("using the server at %s", usual)
            return _NamedServer(access.client(usual))
        if not can_start:
            raise ConnectionFailedError(
                f"no server is ready at {usual}: give its address (url=… or {ADDRESS_VARIABLE}), "
                "or install the package ovseg, which starts one when it is needed"
            )
    elif not can_start:
        raise ConnectionFailedError(
            "model_dir needs the package ovseg, which starts a server with these models; without "
            f"it give a server's address (url=… or {ADDRESS_VARIABLE})"
        )
    return _SharedServer.for_models(model_dirs, access)


def _can_start() -> bool:
    """Whether the server's package is installed; the client's does not need it."""
    try:
        return importlib.util.find_spec("ovseg.embedded") is not None
    except ModuleNotFoundError:
        return False


def _usual_address() -> str:
    from ovseg.embedded import usual_address

    return usual_address()


class _NamedServer:
    """Somebody else's server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def client(self) -> Client:
        return self._client

    def close(self) -> None:
        self._client.close()


class _EmbeddedProcess:
    """The embedded server of some models, which all pipelines of this process share.

    It runs until the last pipeline that uses it is closed, or this process ends; pipelines that
    are just forgotten leave it to the next one.
    """

    def __init__(self, model_dirs: tuple[Path, ...]) -> None:
        self._model_dirs = model_dirs
        self._lock = threading.Lock()
        self._users: weakref.WeakSet[_SharedServer] = weakref.WeakSet()
        self._service: EmbeddedService | None = None
        self._owner = os.getpid()
        atexit.register(self._stop)

    def address(self, user: _SharedServer) -> str:
        """Where it answers; it is started if it does not run (any more)."""
        from ovseg.embedded import EmbeddedServiceError, start_embedded_service

        with self._lock:
            self._users.add(user)
            if self._service is None or not self._service.is_running():
                self._stop()
                logger.info("starting the embedded server")
                try:
                    self._service = start_embedded_service(self._model_dirs, say=logger.info)
                except EmbeddedServiceError as error:
                    raise ServerNotStartedError(str(error)) from error
            return self._service.base_url

    def leave(self, user: _SharedServer) -> None:
        with self._lock:
            self._users.discard(user)
            if not self._users:
                self._stop()

    def _stop(self) -> None:
        # A forked child must not stop the parent's server.
        if self._service is not None and os.getpid() == self._owner:
            self._service.stop()
            self._service = None


_processes: dict[tuple[Path, ...], _EmbeddedProcess] = {}
_processes_lock = threading.Lock()


class _SharedServer:
    """A pipeline's part in an embedded server."""

    def __init__(self, process: _EmbeddedProcess, access: Access) -> None:
        self._process = process
        self._access = access
        self._address: str | None = None
        self._client: Client | None = None

    @classmethod
    def for_models(cls, model_dirs: tuple[Path, ...], access: Access) -> _SharedServer:
        key = tuple(folder.absolute() for folder in model_dirs)
        with _processes_lock:
            if key not in _processes:
                _processes[key] = _EmbeddedProcess(key)
            process = _processes[key]
        server = cls(process, access)
        server.client()
        return server

    def client(self) -> Client:
        address = self._process.address(self)
        if self._client is None or address != self._address:
            self._close_client()
            self._address, self._client = address, self._access.client(address)
        return self._client

    def close(self) -> None:
        self._close_client()
        self._process.leave(self)

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
