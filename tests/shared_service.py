"""A service for several tests, of which none is about how it stops."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ovseg.server.service import Service, running_service


@contextmanager
def shared_service(environment: Mapping[str, str], log: Path | None = None) -> Iterator[Service]:
    """`running_service`, stopped at once when the block ends.

    After one signal it would first wait for what is under way, such as a request in a stage that a
    test has stopped.
    """
    with running_service(environment, log=log) as service:
        try:
            yield service
        finally:
            while service.process.poll() is None:
                service.process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    service.process.wait(0.3)
