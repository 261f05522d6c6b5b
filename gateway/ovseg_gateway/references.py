"""`imageId` and `maskId`: names for what a caller sent or got before, instead of the thing itself.

Held in memory, by each gateway process for itself, up to a number of bytes; what is not held (any
more) is a 404, and the caller sends the image again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg.settings import Settings
from ovseg_gateway.errors import ForgottenImageError, ForgottenMaskError, InvalidRequestError
from ovseg_gateway.heavy_work import run_heavy
from ovseg_gateway.recently_used import RecentlyUsed

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _KeptMask:
    image_id: str
    logits: Logits
    """[256, 256]."""


class References:
    """What this gateway keeps for its callers."""

    def __init__(self, settings: Settings) -> None:
        """Start with nothing."""
        self._images: RecentlyUsed[bytes] = RecentlyUsed(settings.image_store_bytes)
        self._masks: RecentlyUsed[_KeptMask] = RecentlyUsed(settings.mask_store_bytes)

    def image(self, image_id: str) -> bytes:
        """The image file of that id.

        Raises:
            ForgottenImageError: it is not held.
        """
        content = self._images.get(image_id)
        if content is None:
            raise ForgottenImageError
        return content

    def keep_image(self, image_id: str, content: bytes) -> bool:
        """Keep an image file if there is room for it; whether there is."""
        return self._images.put(image_id, content, len(content))

    def mask_input(self, mask_ids: Sequence[str | None], image_id: str) -> Logits | None:
        """The logits that N prompts refine, [N, 256, 256]; None where none of them refines any.

        Raises:
            InvalidRequestError: only some name a mask, or one is of another image.
            ForgottenMaskError: one is not held.
        """
        if not any(mask_ids):
            return None
        found = []
        for i, mask_id in enumerate(mask_ids):
            location = f"body.prompts[{i}].maskId"
            if not mask_id:
                raise InvalidRequestError.single(
                    location, "Either all prompts of a request refine a mask or none does"
                )
            kept = self._masks.get(mask_id)
            if kept is None:
                raise ForgottenMaskError
            if kept.image_id != image_id:
                raise InvalidRequestError.single(location, "It is a mask of another image")
            found.append(kept.logits)
        return np.stack(found)

    def keep_masks(self, image_id: str, logits: Logits) -> list[str | None]:
        """Keep the logits of K masks, [K, 256, 256]; their ids, None where there is no room."""
        ids = [uuid.uuid4().hex for _ in logits]
        return [
            # A copy: the array is a part of Triton's whole answer.
            mask_id
            if self._masks.put(mask_id, _KeptMask(image_id, one.copy()), one.nbytes)
            else None
            for mask_id, one in zip(ids, logits, strict=True)
        ]


async def image_id_of(content: bytes) -> str:
    """An image's id: the SHA-256 digest of its file, in hexadecimal."""
    return await run_heavy(len(content), lambda: hashlib.sha256(content).hexdigest())
