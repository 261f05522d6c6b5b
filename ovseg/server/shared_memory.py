"""Triton's python backend keeps tensors in /dev/shm; killed stubs leave their regions behind.

The regions of one supervisor carry its process id in their names, so that they can be removed
when it stops, and by the next one if it was killed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SHARED_MEMORY_FOLDER = Path("/dev/shm")
_NAME = re.compile(r"ovseg_(?P<pid>\d+)_")


def shared_memory_prefix(pid: int) -> str:
    """Prefix of the regions that the supervisor with this process id owns."""
    return f"ovseg_{pid}_"


def remove_regions(prefix: str) -> None:
    """Remove every region whose name starts with the prefix."""
    for region in SHARED_MEMORY_FOLDER.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def remove_stale_regions() -> None:
    """Remove the regions of supervisors that are no longer alive."""
    for region in SHARED_MEMORY_FOLDER.glob("ovseg_*"):
        match = _NAME.match(region.name)
        if match and not _is_alive(int(match["pid"])):
            region.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
