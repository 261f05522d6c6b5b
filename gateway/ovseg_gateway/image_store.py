"""Image files that were answered lately, so that a caller need not send them again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from ovseg_gateway.errors import ForgottenImageError
from ovseg_gateway.heavy_work import run_heavy


class ImageStore:
    """Keeps the files used last, by their digests; of one gateway process, in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        """Start empty; with a capacity of 0 it stays so."""
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._files: OrderedDict[str, bytes] = OrderedDict()

    def find(self, image_id: str) -> bytes:
        """The image file of that digest.

        Raises:
            ForgottenImageError: it is not held, or not any more.
        """
        content = self._files.get(image_id)
        if content is None:
            raise ForgottenImageError
        self._files.move_to_end(image_id)
        return content

    async def keep(self, content: bytes) -> str | None:
        """Keep an image file for as long as there is room.

        Returns:
            Its id, the SHA-256 digest in hexadecimal; None if it is not kept, being too large.
        """
        if len(content) > self._capacity_bytes:
            return None
        image_id = await run_heavy(len(content), _digest, content)
        if image_id not in self._files:
            self._held_bytes += len(content)
        self._files[image_id] = content
        self._files.move_to_end(image_id)
        while self._held_bytes > self._capacity_bytes:
            _, oldest = self._files.popitem(last=False)
            self._held_bytes -= len(oldest)
        return image_id


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
