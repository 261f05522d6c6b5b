"""One gateway process at a time may be the first to have an image encoded.

Each image has one byte of a file of locks, at an offset that its digest gives. POSIX record locks
(fcntl(2)) need no clean-up: the kernel releases them when their process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ovseg.private_folder import private_folder

_OFFSET_BYTES = 7
"""Of a digest: file offsets are 63 bits."""
_RETRY_S = 0.01


class ImageLocks:
    """Locks shared by the gateways on this machine that talk to the same Triton."""

    def __init__(self, triton_address: str, folder: Path | None = None) -> None:
        """Open the file of locks.

        Args:
            triton_address: host:port; gateways of another Triton lock in another file.
            folder: where it is; by default one of this user's own in the folder of temporary files.

        Raises:
            OSError: there is no such folder of ours to be had.
        """
        folder = folder or private_folder("locks")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(triton_address.encode()).hexdigest()[:16]
        self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    async def acquire(self, digest: bytes) -> bool:
        """Hold the image's lock as soon as no other process does; `release` it.

        Within one process only one task may hold an image's lock at a time.

        Returns:
            Whether another process held it meanwhile.
        """
        waited = False
        # Asking again beats waiting in a thread: a wait there could not be cancelled.
        while not self._try(digest):
            waited = True
            await asyncio.sleep(_RETRY_S)
        return waited

    def release(self, digest: bytes) -> None:
        """Let other processes have it."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(digest))

    def close(self) -> None:
        """Release all."""
        os.close(self._file)

    def _try(self, digest: bytes) -> bool:
        with suppress(BlockingIOError, PermissionError):  # EAGAIN or EACCES, says POSIX
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(digest))
            return True
        return False


def _offset(digest: bytes) -> int:
    return int.from_bytes(digest[:_OFFSET_BYTES], "big")
