"""Installing a model: all of it or nothing."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovseg.checkpoints.errors import CheckpointError
from ovseg.manifest import MANIFEST_FILE_NAME, ArtefactFile


@contextmanager
def installing(model_dir: Path, name: str) -> Iterator[Path]:
    """A folder to write a model into, which becomes `<model_dir>/<name>` when the block ends.

    If the block raises (Ctrl-C too), the folder is removed and an installed model of that name
    stays as it was.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=model_dir) as workspace:
        being_made = Path(workspace) / "new"
        being_made.mkdir()
        yield being_made
        replace_folder(model_dir / name, being_made, retired=Path(workspace) / "replaced")


def replace_folder(target: Path, new: Path, retired: Path) -> None:
    """Move `new` to `target`; what was there goes to `retired`, and comes back if that fails."""
    if not target.exists():
        new.rename(target)
        return
    target.rename(retired)
    try:
        new.rename(target)
    except BaseException:
        retired.rename(target)
        raise


def describe_files(folder: Path) -> tuple[ArtefactFile, ...]:
    """Path, size and SHA-256 of every file below a folder, except the manifest."""
    return tuple(
        ArtefactFile(
            path=str(path.relative_to(folder)),
            size_bytes=path.stat().st_size,
            sha256=sha256_of(path),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE_NAME
    )


def describe_sources(files: Sequence[Path]) -> tuple[ArtefactFile, ...]:
    """Name, size and SHA-256 of the files that a model is made from."""
    return tuple(
        ArtefactFile(path=file.name, size_bytes=file.stat().st_size, sha256=sha256_of(file))
        for file in files
    )


def combined_sha256(files: Sequence[ArtefactFile]) -> str:
    """The SHA-256 of one file; of several, that of their SHA-256s in order."""
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256("".join(file.sha256 for file in files).encode("ascii")).hexdigest()


def check_name(name: str) -> None:
    """Make sure that a name can be that of a model's folder.

    Raises:
        CheckpointError: it is empty, hidden, or a path.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise CheckpointError(f"{name!r} cannot be the name of a model's folder")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
