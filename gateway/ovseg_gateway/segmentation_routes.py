"""`POST /open-vocabulary-segmentation`."""

from __future__ import annotations

import base64
import math
from collections.abc import Awaitable
from typing import Any, cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ovseg_gateway.context import RequestContext, context_of
from ovseg_gateway.deadlines import deadline, set_deadline, unless_caller_leaves
from ovseg_gateway.inference import PromptType, Segmentation
from ovseg_gateway.request_parsing import read_segmentation_request
from ovseg_gateway.schemas import SegmentationRequest, SegmentationResponse, StatusResponse
from ovseg_gateway.state import Gateway, gateway_of

PATH = "/open-vocabulary-segmentation"
_ERRORS = {
    400: "The body is not text, or not what Content-Encoding says.",
    404: "The image of `imageId` is not held any more: send it as `image`.",
    408: "The body took too long to arrive.",
    413: "The body is too large, as it was sent or when inflated.",
    415: "The body has a Content-Encoding other than gzip and deflate.",
    422: "`errorMsg` lists what is wrong, as JSON text.",
    429: "This caller asks too often; see Retry-After.",
    500: "The service failed.",
    503: "The service is busy or restarting; see Retry-After.",
    504: "The request took too long.",
}

router = APIRouter()


@router.post(
    PATH,
    operation_id="infer",
    summary="Segment an image by boxes or points",
    response_model=None,
    responses={
        200: {"model": SegmentationResponse, "description": "One mask for each row of `prompt`."},
        **{
            status: {"model": StatusResponse, "description": text}
            for status, text in _ERRORS.items()
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": SegmentationRequest.model_json_schema()}},
        }
    },
)
async def segment(request: Request) -> Response:
    """Find, for each box or point, the object that it marks."""
    gateway = gateway_of(request)
    context = context_of(request)
    set_deadline(request, gateway.settings.request_timeout_s)
    with deadline(request):
        parsed = await read_segmentation_request(request, gateway.settings)
        segmentation, image_id = await unless_caller_leaves(
            request, _segment(parsed, gateway, context)
        )
    gateway.readiness.note_success()
    context.note_stages(segmentation.stage_seconds, segmentation.cache_hit, segmentation.waited_s)
    with context.measure("answer"):
        content = orjson.dumps(
            {
                "logId": context.log_id,
                "result": result_of(parsed, segmentation, image_id),
                "errorCode": 0,
                "errorMsg": "Success",
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
    return Response(content, media_type="application/json")


async def _segment(
    parsed: SegmentationRequest, gateway: Gateway, context: RequestContext
) -> tuple[Segmentation, str | None]:
    """What Triton found, and the id under which the image is kept."""
    gateway.admission.check()  # The body may have taken its time.
    if parsed.image_id is not None and not parsed.image:
        image = gateway.store.find(parsed.image_id)
    else:
        image = await gateway.images.load(parsed.image, context)

    def infer() -> Awaitable[Segmentation]:
        return gateway.segmenter.segment(
            image,
            parsed.prompt,
            cast(PromptType, parsed.prompt_type),
            model=parsed.model,
            visualize=gateway.settings.visualize if parsed.visualize is None else parsed.visualize,
            request_id=context.short_log_id,
            timeout_s=context.remaining_s,
        )

    with context.measure("triton"):
        segmentation = await gateway.recovery.run(infer, parsed.model)
    return segmentation, await gateway.store.keep(image)


def result_of(
    request: SegmentationRequest, segmentation: Segmentation, image_id: str | None
) -> dict[str, Any]:
    """The `result` of an answer, in PaddleX's names; see `schemas.SegmentationResult`."""
    label = f"{request.prompt_type}_prompt"
    result: dict[str, Any] = {
        "masks": [
            {"size": segmentation.size, "counts": counts, "rleResult": counts}
            for counts in segmentation.counts
        ],
        "maskInfos": [
            {"label": label, "prompt": row}
            if math.isnan(score)
            else {"label": label, "prompt": row, "score": score}
            for row, score in zip(request.prompt, segmentation.scores, strict=True)
        ],
    }
    if image_id is not None:
        result["imageId"] = image_id
    if segmentation.overlay is not None:
        result["image"] = base64.b64encode(segmentation.overlay).decode("ascii")
    return result
