"""What the answers to all kinds of prompts have in common."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from ovseg_gateway.context import RequestContext
from ovseg_gateway.references import References


class Found(Protocol):
    """Masks that Triton found."""

    @property
    def counts(self) -> list[str]:
        """COCO compressed run-length texts."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""

    @property
    def overlay(self) -> bytes | None:
        """JPEG with the masks drawn, where it was asked for."""


def result_of(
    found: Found,
    mask_infos: Sequence[dict[str, Any]],
    references: References,
    image_id: str,
    image: bytes,
) -> dict[str, Any]:
    """`result` of an answer (see `schemas.SegmentationResult`); keeps the image, if there is room.

    Args:
        found: the masks.
        mask_infos: of the same length; see `schemas.MaskInfo`.
        references: where images are kept.
        image_id: of the image.
        image: its file.
    """
    result: dict[str, Any] = {"masks": masks_of(found), "maskInfos": mask_infos}
    if references.keep_image(image_id, image):
        result["imageId"] = image_id
    if found.overlay is not None:
        result["image"] = base64.b64encode(found.overlay).decode("ascii")
    return result


def masks_of(found: Found) -> list[dict[str, Any]]:
    """`masks` of an answer; see `schemas.Mask`."""
    return [{"size": found.size, "counts": text, "rleResult": text} for text in found.counts]


def success(context: RequestContext, result: dict[str, Any]) -> bytes:
    """The JSON of an answer with a result."""
    return orjson.dumps(
        {"logId": context.log_id, "result": result, "errorCode": 0, "errorMsg": "Success"},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
