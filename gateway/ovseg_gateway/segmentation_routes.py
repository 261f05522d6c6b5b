"""`POST /open-vocabulary-segmentation`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ovseg.served_models import EVERYTHING
from ovseg_gateway.answers import result_of, success
from ovseg_gateway.context import RequestContext, context_of
from ovseg_gateway.deadlines import deadline, set_deadline, unless_caller_leaves
from ovseg_gateway.everything_answers import LINES, answer_everything
from ovseg_gateway.inference import Question, Segmentation
from ovseg_gateway.prompt_tensors import PromptType, of_items, of_rows
from ovseg_gateway.request_parsing import read_segmentation_request
from ovseg_gateway.schemas import (
    SegmentationRequest,
    SegmentationResponse,
    StatusResponse,
    request_schema,
)
from ovseg_gateway.state import Gateway, gateway_of

PATH = "/open-vocabulary-segmentation"
_ERRORS = {
    400: "The body is not text, or not what Content-Encoding says.",
    404: "The image of `imageId`, or the mask of a `maskId`, is not held any more.",
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
    summary="Segment an image by boxes or points, or everything in it",
    response_model=None,
    responses={
        200: {
            "model": SegmentationResponse,
            "description": "One mask for each row of `prompt`; or everything. Everything comes in "
            f"lines to who accepts {LINES}: "
            '`{"progress": {"done": 16, "total": 1024}}` as it gets further, then the answer.',
            "content": {LINES: {"schema": {"type": "string"}}},
        },
        **{
            status: {"model": StatusResponse, "description": text}
            for status, text in _ERRORS.items()
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request_schema()}},
        }
    },
)
async def segment(request: Request) -> Response:
    """Find, for each box or point, the object that it marks; or find all objects."""
    gateway = gateway_of(request)
    context = context_of(request)
    set_deadline(request, gateway.settings.request_timeout_s)
    with deadline(request):
        parsed = await read_segmentation_request(request, gateway.settings)
    if parsed.prompt_type == EVERYTHING:
        return await answer_everything(request, parsed)
    with deadline(request):
        result = await unless_caller_leaves(request, _segment(parsed, gateway, context))
    with context.measure("answer"):
        content = success(context, result)
    return Response(content, media_type="application/json")


async def _segment(
    parsed: SegmentationRequest, gateway: Gateway, context: RequestContext
) -> dict[str, Any]:
    """The `result` of the answer."""
    gateway.admission.check()  # The body may have taken its time.
    references = gateway.references
    image, image_id = await gateway.image_of(parsed.image, parsed.image_id, context)
    if parsed.prompts is None:
        prompts = of_rows(parsed.prompt, cast(PromptType, parsed.prompt_type))
    else:
        prompts = of_items(parsed.prompts)
    question = Question(
        image,
        image_id,
        prompts,
        mask_input=references.mask_input([item.mask_id for item in parsed.prompts or ()], image_id),
        multimask=parsed.multimask,
        visualize=gateway.settings.visualize if parsed.visualize is None else parsed.visualize,
        keep_masks=parsed.keep_masks,
        model=parsed.model,
    )

    def infer(route: str) -> Awaitable[Segmentation]:
        return gateway.segmenter.segment(
            question,
            request_id=context.short_log_id,
            timeout_s=context.remaining_s,
            route=route,
        )

    with context.measure("triton"):
        found = await gateway.recovery.run(infer, image_id, parsed.model)
    gateway.readiness.note_success()
    context.note_stages(found.stage_seconds, found.waited_s)
    kept_as: list[str | None] = [None] * len(found.counts)
    if found.low_res_masks is not None:
        kept_as = references.keep_masks(image_id, found.low_res_masks)
    mask_infos = mask_infos_of(parsed, found, kept_as)
    return result_of(found, mask_infos, references, image_id, image)


def mask_infos_of(
    request: SegmentationRequest, found: Segmentation, kept_as: Sequence[str | None]
) -> list[dict[str, Any]]:
    """`maskInfos` of an answer, of the same length; see `schemas.MaskInfo`.

    With `multimask` each prompt has three in a row.
    """
    infos: list[dict[str, Any]] = []
    for k, (score, mask_id) in enumerate(zip(found.scores.tolist(), kept_as, strict=True)):
        i = k // found.masks_per_prompt
        if request.prompts is None:
            info: dict[str, Any] = {
                "label": f"{request.prompt_type}_prompt",
                "prompt": request.prompt[i],
            }
        else:
            prompt = request.prompts[i].model_dump(by_alias=True, exclude_none=True)
            info = {"label": "prompt", "prompt": prompt, "promptIndex": i}
        if not math.isnan(score):
            info["score"] = score
        if mask_id is not None:
            info["maskId"] = mask_id
        infos.append(info)
    return infos
