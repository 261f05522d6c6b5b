"""Whether all processes of the service work, told by the supervisor to its gateways in a file.

The supervisor sees a process die within a fraction of a second; a gateway would find out only by a
request that fails. The file is replaced as a whole, so that a reader never sees half of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One state of the service."""

    is_whole: bool = False
    """Whether every stage answered a request after its last start, and none has died since."""
    cause: str = "starting"
    """Why it is not whole, in one line; "" if it is."""
    affected: tuple[str, ...] = ()
    """The served models that do not work; none named: all of them."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """Restarts since the service started, by part: a stage's name, "triton" or "gateway"."""

    def is_broken_for(self, model: str | None) -> bool:
        """Whether a request for this model (None: whichever fits) had better wait."""
        if self.is_whole:
            return False
        return model is None or not self.affected or model in self.affected


class StatusWriter:
    """The supervisor's side; its threads may all write."""

    def __init__(self, file: Path, parts: Iterable[str] = ()) -> None:
        """Write the first state.

        Args:
            file: what the gateways read.
            parts: whose restarts are counted. Each is 0 before its first one: Prometheus sees no
                increase in a series that begins at 1.
        """
        self._file = file
        self._lock = Lock()
        self._status = ServiceStatus(restarts=dict.fromkeys(parts, 0))
        self._write()

    def set_whole(self) -> None:
        """Every stage works."""
        self._change(is_whole=True, cause="", affected=())

    def set_broken(self, cause: str, affected: tuple[str, ...] = ()) -> None:
        """Something does not, or not yet; fields as in `ServiceStatus`."""
        self._change(is_whole=False, cause=cause, affected=affected)

    def count_restart(self, part: str) -> None:
        """Count a restart of a stage (its plain name), of "triton" or of a "gateway"."""
        restarts = self._status.restarts
        self._change(restarts={**restarts, part: restarts.get(part, 0) + 1})

    def _change(self, **fields: object) -> None:
        with self._lock:
            self._status = replace(self._status, **fields)  # type: ignore[arg-type]
            self._write()

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self._status)), "utf-8")
        fresh.replace(self._file)


class StatusReader:
    """A gateway's side."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._status = ServiceStatus()

    def read(self) -> ServiceStatus:
        """The present state; costs one stat(2) while nothing changes."""
        try:
            found = os.stat(self._file)
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._status = ServiceStatus(**json.loads(self._file.read_text("utf-8")))
                self._seen = (found.st_ino, found.st_mtime_ns)
        except OSError:
            # The supervisor has removed it: it has ended.
            self._status = replace(self._status, is_whole=False, cause="the supervisor has ended")
        return self._status
