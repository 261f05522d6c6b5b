"""A download under way: what has come so far, and what it is a part of.

`<name>.part` holds the bytes, `<name>.part.json` the address and the validator (a strong ETag or a
Last-Modified date) that they came with. Both outlive an interrupted run.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ovseg.checkpoints.errors import DownloadError
from ovseg.checkpoints.published import PublishedFile


class PartialFile:
    """The bytes of one file that have been received, appended to as more come."""

    def __init__(self, folder: Path, file: PublishedFile) -> None:
        """Open what an earlier run left, or begin.

        Raises:
            DownloadError: another process is downloading the same file.
        """
        self.path = folder / f"{file.name}.part"
        self._facts_path = folder / f"{file.name}.part.json"
        self._url = file.url
        self._stream: BinaryIO = self.path.open("ab")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise DownloadError(f"another process is downloading {file.name} just now") from None
        facts = self._read_facts()
        self.validator: str | None = facts.get("validator")
        self.was_resumed = bool(self.size)
        if facts.get("url") != self._url:
            self.restart(None)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.size == 0:
            self.discard()
        self._stream.close()

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return os.fstat(self._stream.fileno()).st_size

    def append(self, piece: bytes) -> None:
        """Write bytes at the end."""
        self._stream.write(piece)

    @contextmanager
    def flushed(self) -> Iterator[None]:
        """Whatever happens in the block, what was appended in it is in the file after it."""
        try:
            yield
        finally:
            self._stream.flush()

    def restart(self, validator: str | None) -> None:
        """Forget all bytes; the next ones belong to the version that `validator` tells."""
        self._stream.truncate(0)
        self.validator = validator
        self.was_resumed = False
        facts = {"url": self._url, "validator": validator}
        self._facts_path.write_text(json.dumps(facts), encoding="utf-8")

    def become(self, target: Path) -> None:
        """Move the finished file to its place, at once or not at all."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.path.replace(target)
        self._facts_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything."""
        self.path.unlink(missing_ok=True)
        self._facts_path.unlink(missing_ok=True)

    def _read_facts(self) -> dict[str, str | None]:
        try:
            facts = json.loads(self._facts_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}
