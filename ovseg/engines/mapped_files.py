"""Memory that a process holds and will not need again: pages of mapped files, freed blocks."""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RELEASE_INTERVAL_S = 0.05


def release_pages(file: Path) -> int:
    """Give back the memory that this process's read-only mappings of a file take.

    The mappings stay: whoever reads them later gets the same bytes, from the kernel's page cache or
    from the disk. On systems other than Linux nothing happens.

    Args:
        file: a file that this process, or a library in it, may have mapped.

    Returns:
        Bytes of the address space whose pages were released.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    path = str(file.resolve())
    released = 0
    # A line is: start-end permissions offset device inode path (proc_pid_maps(5)).
    for line in Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines():
        addresses, permissions, *_, mapped = line.split(maxsplit=5)
        # What was written to a private mapping would be lost.
        if mapped != path or "w" in permissions:
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        if libc.madvise(start, end - start, mmap.MADV_DONTNEED) == 0:
            released += end - start
    return released


def release_freed_memory() -> None:
    """Give the system back what was freed; the C library keeps most of it for the next request.

    With other C libraries than glibc nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def releasing_pages(file: Path) -> Iterator[None]:
    """Give a file's pages back again and again while something reads through it, and at the end.

    Else what is made of the file, and the whole file, are in memory at the same time.

    Args:
        file: see `release_pages`.
    """
    is_read = threading.Event()

    def release() -> None:
        while not is_read.wait(RELEASE_INTERVAL_S):
            release_pages(file)

    thread = threading.Thread(target=release, name="releasing-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_read.set()
        thread.join()
        release_pages(file)
