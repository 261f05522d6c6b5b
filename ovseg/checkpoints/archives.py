"""Unpacking a tar archive of unknown origin."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from ovseg.checkpoints.errors import UnreadableCheckpointError, UnsafeCheckpointError

MAX_MEMBERS = 1000
SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, plain or compressed, by its content."""
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except OSError:
        return False


@contextmanager
def unpacked(path: Path, parent: Path) -> Iterator[Path]:
    """The content of a tar archive, in a folder that is removed when the block ends.

    Regular files and folders are taken, below the folder. An archive with anything else (links,
    devices, absolute paths, "..") is refused as a whole, and so is one that would fill the disk.

    Args:
        path: the archive.
        parent: where the folder is made; made itself if it is missing.

    Yields:
        The archive's only top folder if it has just one, otherwise the folder with everything.

    Raises:
        UnsafeCheckpointError: the archive has a member that it must not have.
        UnreadableCheckpointError: it is damaged, or too large.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}-", dir=parent) as workspace:
        folder = Path(workspace)
        try:
            with tarfile.open(path) as archive:
                for member in _checked_members(archive, path.name, folder):
                    _extract(archive, member, folder)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise UnreadableCheckpointError(
                f"{path.name} is damaged, or truncated: {error}"
            ) from None
        entries = list(folder.iterdir())
        yield entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _checked_members(
    archive: tarfile.TarFile, name: str, folder: Path
) -> Iterator[tarfile.TarInfo]:
    """The archive's members, each checked before it is given out."""
    remaining = shutil.disk_usage(folder).free - SPARE_BYTES
    for count, member in enumerate(archive, start=1):
        parts = PurePosixPath(member.name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in member.name:
            raise UnsafeCheckpointError(f"{name} has a member outside of it: {member.name!r}")
        if not (member.isfile() or member.isdir()) or member.issparse():
            raise UnsafeCheckpointError(
                f"{name} has a member that is no plain file: {member.name!r}"
            )
        remaining -= member.size
        if count > MAX_MEMBERS or remaining < 0:
            raise UnreadableCheckpointError(f"{name} unpacks to more than the disk can hold")
        yield member


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    if content is None:
        raise ValueError(f"{member.name} has no content")
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    if target.stat().st_size != member.size:
        raise EOFError(f"{member.name} ends early")
