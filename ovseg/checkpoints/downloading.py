"""Downloading large files: resumed where they broke off, retried, and checked.

HTTP semantics: RFC 9110, sections 13.1.5 (If-Range), 14 (range requests) and 10.2.3 (Retry-After).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ovseg.checkpoints.errors import DownloadError
from ovseg.checkpoints.installing import sha256_of
from ovseg.checkpoints.partial_file import PartialFile
from ovseg.checkpoints.published import PublishedFile

SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk
MAX_REDIRECTS = 5
TEMPORARY_STATUSES = {408, 425, 429, 500, 502, 503, 504}

Report = Callable[[int, int | None], None]
"""Called with the bytes received so far and, if it is known, the file's size."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently to try again."""

    failures: int = 6
    """Failures in a row, without a new byte between them, before giving up."""
    failures_before_contact: int = 2
    """The same while the server has never answered: one who is offline should not wait long."""
    first_delay_s: float = 1.0
    """The next are twice as long each, up to `longest_delay_s`."""
    longest_delay_s: float = 30.0
    timeout_s: float = 30.0
    """Of connecting, and of waiting for the next bytes."""


class _InterruptedError(Exception):
    """A transfer broke off; trying again may help."""

    def __init__(self, reason: str, retry_after_s: float = 0.0, *, contact: bool = True) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.contact = contact


def download(
    file: PublishedFile,
    folder: Path,
    report: Report,
    extra_bytes: int = 0,
    policy: RetryPolicy | None = None,
) -> Path:
    """Download a file, or what is missing of it, and check it.

    Args:
        file: where it is, and what is known of it.
        folder: where it goes, and where an interrupted download waits; made if it is missing.
        report: follows the progress.
        extra_bytes: disk space that must remain for what comes after.
        policy: when to try again.

    Returns:
        The complete file, which has the expected size and checksum where these are known.

    Raises:
        DownloadError: one line that says what to do; what has been received is kept, unless it
            is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    policy = policy or RetryPolicy()
    target = folder / file.name
    if target.is_file() and file.sha256 is not None and sha256_of(target) == file.sha256:
        return target  # an earlier run got it, and was interrupted later
    with (
        PartialFile(folder, file) as partial,
        httpx.Client(
            follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=policy.timeout_s
        ) as client,
    ):
        _receive(client, file, partial, report, extra_bytes, policy)
        if not _is_intact(file, partial):
            # Two versions may have been joined; a download in one piece decides.
            resumed = partial.was_resumed
            partial.restart(None)
            if resumed:
                _receive(client, file, partial, report, extra_bytes, policy)
            if not resumed or not _is_intact(file, partial):
                partial.discard()
                raise DownloadError(
                    f"{file.url} is not the expected file (its SHA-256 is not {file.sha256}); "
                    "it was damaged on the way, or replaced by its publisher"
                )
        partial.become(target)
    return target


def _is_intact(file: PublishedFile, partial: PartialFile) -> bool:
    return file.sha256 is None or sha256_of(partial.path) == file.sha256


def _receive(
    client: httpx.Client,
    file: PublishedFile,
    partial: PartialFile,
    report: Report,
    extra_bytes: int,
    policy: RetryPolicy,
) -> None:
    """Transfer until the file is complete, trying again as long as that gets further."""
    failures, furthest, had_contact = 0, partial.size, False
    while True:
        try:
            with partial.flushed():
                _transfer(client, file, partial, report, extra_bytes)
            return
        except _InterruptedError as interruption:
            had_contact = had_contact or interruption.contact
            failures = 1 if partial.size > furthest else failures + 1
            furthest = max(furthest, partial.size)
            if failures >= (policy.failures if had_contact else policy.failures_before_contact):
                raise DownloadError(_advice(file, str(interruption), had_contact)) from None
            delay = min(policy.first_delay_s * 2 ** (failures - 1), policy.longest_delay_s)
            time.sleep(max(delay, min(interruption.retry_after_s, policy.longest_delay_s)))


def _advice(file: PublishedFile, reason: str, had_contact: bool) -> str:
    if had_contact:
        return (
            f"{file.url} broke off again and again ({reason}); what has been received is kept: "
            "the same command goes on from there"
        )
    host = httpx.URL(file.url).host
    return (
        f"cannot reach {host} ({reason}). Offline, or behind a proxy (HTTPS_PROXY)? You can "
        f"download {file.url} elsewhere and install it with `ovseg import {file.name}`"
    )


def _transfer(
    client: httpx.Client,
    file: PublishedFile,
    partial: PartialFile,
    report: Report,
    extra_bytes: int,
) -> None:
    """One request, and all bytes that come of it."""
    headers = {"Accept-Encoding": "identity"}
    received = partial.size
    # Without a validator only a known checksum can tell whether the parts belong together.
    if received and (partial.validator or file.sha256):
        headers["Range"] = f"bytes={received}-"
        if partial.validator:
            headers["If-Range"] = partial.validator
    try:
        with client.stream("GET", file.url, headers=headers) as response:
            total = _begin(response, file, partial)
            if total is not None and partial.size == total:
                return
            _check_space(partial, total, extra_bytes)
            report(partial.size, total)
            received = partial.size
            for piece in response.iter_raw():  # in pieces of a size would lose the last, half one
                partial.append(piece)
                received += len(piece)
                report(received, total)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _InterruptedError(_reason(error), contact=False) from None
    except httpx.TooManyRedirects:
        raise DownloadError(f"{file.url} redirects too often") from None
    except httpx.TransportError as error:
        raise _InterruptedError(_reason(error)) from None
    except OSError as error:
        raise DownloadError(f"{partial.path} cannot be written: {error.strerror}") from None
    if total is not None and received != total:
        raise _InterruptedError(f"{received} of {total} bytes came")


def _begin(response: httpx.Response, file: PublishedFile, partial: PartialFile) -> int | None:
    """Make the partial file ready for a response's body; the size of the whole file, if known."""
    if httpx.URL(file.url).scheme == "https" and response.url.scheme != "https":
        raise DownloadError(f"{file.url} redirects to an unencrypted address, {response.url}")
    status = response.status_code
    if status == 416:  # nothing behind what is here
        total = _total(response)
        if total is not None and total == partial.size:
            return total
        partial.restart(None)
        raise _InterruptedError("the file has changed")
    if status in TEMPORARY_STATUSES:
        retry_after = response.headers.get("Retry-After", "")
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        raise _InterruptedError(f"the server answered {status}", seconds)
    if status not in (200, 206):
        raise DownloadError(f"{file.url}: the server answered {status}; has the file been moved?")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{file.url} is a web page here, not the file; a proxy's login page?")
    validator = _validator(response)
    if status == 206:
        total = _total(response)
        if _start(response) != partial.size or _differs(validator, partial.validator):
            partial.restart(None)
            raise _InterruptedError("the file has changed")
        partial.was_resumed = True
    else:  # from the start: the first time, or the file has changed, or ranges are ignored
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        partial.restart(validator)
    if total is None:
        return file.size_bytes
    if file.size_bytes not in (None, total):
        raise DownloadError(
            f"{file.url} has {total} bytes instead of {file.size_bytes}; "
            "has its publisher replaced it?"
        )
    return total


def _validator(response: httpx.Response) -> str | None:
    """What tells this version of the file from others, as If-Range takes it."""
    etag: str | None = response.headers.get("ETag")
    modified: str | None = response.headers.get("Last-Modified")
    return etag if etag and not etag.startswith("W/") else modified


def _differs(validator: str | None, earlier: str | None) -> bool:
    """Whether two validators tell two versions apart; an ETag and a date tell nothing."""
    if validator is None or earlier is None:
        return False
    return validator != earlier and validator.startswith('"') == earlier.startswith('"')


def _start(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total(response: httpx.Response) -> int | None:
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _check_space(partial: PartialFile, total: int | None, extra_bytes: int) -> None:
    if total is None:
        return
    needed = total - partial.size + extra_bytes + SPARE_BYTES
    free = shutil.disk_usage(partial.path.parent).free
    if needed > free:
        raise DownloadError(
            f"{partial.path.parent} has {free / 1e9:.1f} GB free, "
            f"{needed / 1e9:.1f} GB are needed; OVSEG_MODEL_DIR can be on another disk"
        )


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
