"""A folder that no other user of the machine can read, write or have made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def private_folder(purpose: str) -> Path:
    """This user's own folder for one purpose, below the folder of temporary files.

    Raises:
        OSError: somebody else has made it (PermissionError), or it cannot be made.
    """
    folder = Path(tempfile.gettempdir()) / f"ovseg-{purpose}-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    # A link is not followed: what it leads to may change later.
    if folder.is_symlink() or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder
