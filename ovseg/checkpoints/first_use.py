"""Checksums of downloads that nobody published one for: trusted once, compared ever after."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ovseg.checkpoints.errors import DownloadError
from ovseg.checkpoints.installing import sha256_of
from ovseg.checkpoints.published import PublishedFile

FILE_NAME = "first-use.json"


def is_trusted(file: PublishedFile, path: Path) -> bool:
    """Whether a file on disk is the one that was first downloaded from its address."""
    first = _read_record(path.parent).get(file.url)
    return first is not None and path.is_file() and sha256_of(path) == first["sha256"]


def check_first_use(file: PublishedFile, path: Path, accept: bool) -> None:
    """Compare a download with the first one from its address, or remember it as the first.

    Args:
        file: what was downloaded.
        path: where it is now; the record of all downloads is beside it.
        accept: take a file that differs, and compare with this one from now on.

    Raises:
        DownloadError: it differs from the first one.
    """
    sha256 = sha256_of(path)
    record = _read_record(path.parent)
    first = record.get(file.url)
    if first and first["sha256"] == sha256:
        return
    if first and not accept:
        raise DownloadError(
            f"{file.url} differs from what it was on {first['date']} (SHA-256 {first['sha256']}, "
            f"now {sha256}); if its publisher has replaced it, --accept-change takes it"
        )
    today = datetime.now(UTC).date().isoformat()
    record[file.url] = {"sha256": sha256, "date": today}
    new = path.parent / f"{FILE_NAME}.new"
    new.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    new.replace(path.parent / FILE_NAME)


def _read_record(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / FILE_NAME
    record: dict[str, dict[str, str]] = json.loads(path.read_bytes()) if path.is_file() else {}
    return record
