"""Bearer tokens: made here, kept as hashes in the setting OVSEG_TOKEN_HASHES.

A token is 256 random bits, so a single SHA-256 is enough to keep its hash useless to whoever reads
it: slow, salted hashes protect passwords, which can be guessed; such a token cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

TOKEN_PREFIX = "ovseg_"
"""Start of every token, so that people and secret scanners know one when they see it."""

_TOKEN_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def new_token() -> str:
    """A token for one client: the prefix and 256 random bits in URL-safe base64."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash_entry(name: str, token: str) -> str:
    """What OVSEG_TOKEN_HASHES holds for a token: `name:sha256hex`.

    Raises:
        ValueError: the name has other characters than letters, digits, dot, dash and underscore.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a token's name is 1 to 64 letters, digits, '.', '-' and '_'")
    return f"{name}:{_digest(token).hex()}"


def parse_token_hashes(text: str) -> dict[str, bytes]:
    """SHA-256 digests (32 bytes) by the token's name, from `name:sha256hex,name:sha256hex`.

    Raises:
        ValueError: an entry has another form, or a name is there twice. The message counts entries
            and quotes none: somebody may have put a token there.
    """
    digests: dict[str, bytes] = {}
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    for number, entry in enumerate(entries, 1):
        name, _, digest = entry.partition(":")
        if not (_NAME.fullmatch(name) and _DIGEST.fullmatch(digest)):
            raise ValueError(
                f"entry {number} is not name:sha256hex (`ovseg token NAME` prints such an entry)"
            )
        if name in digests:
            raise ValueError(f"entry {number} has the name of an earlier one")
        digests[name] = bytes.fromhex(digest)
    return digests


def name_of_token(token: str, digests: Mapping[str, bytes]) -> str | None:
    """The name of a token that is known, else None; takes as long for any token."""
    presented = _digest(token)
    found = None
    for name, digest in digests.items():
        if hmac.compare_digest(presented, digest):
            found = name  # and on through all of them
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
