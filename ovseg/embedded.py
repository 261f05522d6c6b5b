"""A server for as long as one process needs it: what `create_pipeline` starts.

`ovseg serve` on free ports of loopback, for this process alone: settings that are for strangers
(tokens, certificates, limits) do not apply to it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ovseg.checkpoints.errors import CheckpointError
from ovseg.checkpoints.installing import sha256_of
from ovseg.engines import EngineError
from ovseg.manifest import ModelManifest, ModelNotInstalledError
from ovseg.server.errors import ServerStartError
from ovseg.server.service import Service, running_service
from ovseg.settings import BUNDLED_MODEL, Settings

_START_TIMEOUT_S = 600.0
_LOOPBACK = "127.0.0.1"
# Whoever may call it can read the images from the disk anyway.
_FOR_ITS_OWNER = {
    "OVSEG_HOST": _LOOPBACK,
    "OVSEG_TRITON_HOST": _LOOPBACK,
    "OVSEG_GRPC_URL": "",
    "OVSEG_GATEWAY_WORKERS": "1",
    "OVSEG_TOKEN_HASHES": "",
    "OVSEG_TLS_CERT": "",
    "OVSEG_TLS_KEY": "",
    "OVSEG_RATE_LIMIT": "",
}
# Unless the environment says otherwise: the images are the caller's own, pages and arrays are PNG.
_LIMITS = {
    "OVSEG_MAX_IMAGE_BYTES": str(512 << 20),
    "OVSEG_MAX_BODY_BYTES": str(768 << 20),
    "OVSEG_REQUEST_TIMEOUT_S": "600",
    "OVSEG_HANG_TIMEOUT_S": "600",
}


class EmbeddedServiceError(Exception):
    """The server did not start; the message says why."""


@dataclass(frozen=True)
class EmbeddedService:
    """A running server of one's own."""

    _service: Service
    _on_stop: ExitStack

    @property
    def base_url(self) -> str:
        """The gateway, e.g. http://127.0.0.1:40001."""
        return self._service.base_url

    def is_running(self) -> bool:
        """Whether it has not ended, as it does on Ctrl-C in the same terminal."""
        return self._service.process.poll() is None

    def stop(self) -> None:
        """Stop it."""
        self._on_stop.close()


def usual_address() -> str:
    """Where a server with this environment's settings answers.

    Raises:
        ValueError: a setting has an invalid value.
    """
    return Settings().gateway_url


def start_embedded_service(
    sources: Sequence[Path] = (), say: Callable[[str], None] = lambda _line: None
) -> EmbeddedService:
    """Start a server; it ends with this process at the latest.

    Args:
        sources: a model to serve: whatever `ovseg import` takes. It is installed under a name of
            its own, once; without sources the model of the settings is served.
        say: takes a line for people at each step.

    Raises:
        EmbeddedServiceError: it did not start, or the model cannot be imported.
        ValueError: a setting has an invalid value.
    """
    limits = {name: value for name, value in _LIMITS.items() if name not in os.environ}
    environment = {**limits, **_FOR_ITS_OWNER}
    settings = Settings()
    try:
        if sources:
            environment |= {"OVSEG_MODEL": _install(sources, settings, say), "OVSEG_MODELS": ""}
        elif settings.model == BUNDLED_MODEL and not settings.model_folder.exists():
            say(f"preparing the bundled model {BUNDLED_MODEL}, once (it takes a minute or two)")
        with ExitStack() as stack:
            service = stack.enter_context(running_service(environment, _START_TIMEOUT_S))
            return EmbeddedService(service, stack.pop_all())
    except (ServerStartError, CheckpointError, EngineError) as error:
        raise EmbeddedServiceError(str(error)) from error


def _install(sources: Sequence[Path], settings: Settings, say: Callable[[str], None]) -> str:
    """Import a model unless it is installed; returns the name it is installed under."""
    name = f"pipeline-{_fingerprint(sources)[:12]}"
    try:
        if ModelManifest.load(settings.model_dir / name).checks:
            return name
    except ModelNotInstalledError:
        pass
    # These import OpenCV and more.
    from ovseg.checkpoints.import_sources import import_sources
    from ovseg.checkpoints.self_check import check_engines

    # Standard output is the caller's; converters write lines of their own there.
    with redirect_stdout(sys.stderr):
        import_sources(sources, settings.model_dir, name=name, progress=say)
        check_engines(settings.model_dir / name, settings, say)
    return name


def _fingerprint(sources: Sequence[Path]) -> str:
    """SHA-256 of what the sources contain, wherever they lie."""
    digest = hashlib.sha256()
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in files:
            if file.is_file():
                digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
