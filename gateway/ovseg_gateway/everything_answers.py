"""The answer to `promptType` everything: whole, or line by line with its progress."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from ovseg.served_models import EVERYTHING
from ovseg_gateway.answers import result_of, success
from ovseg_gateway.context import RequestContext, context_of
from ovseg_gateway.deadlines import deadline, set_deadline, unless_caller_leaves
from ovseg_gateway.errors import GatewayError, InferenceFailedError
from ovseg_gateway.everything import EverythingFound, EverythingQuestion, Report
from ovseg_gateway.schemas import SegmentationRequest
from ovseg_gateway.state import Gateway, gateway_of

LINES = "application/x-ndjson"


async def answer_everything(request: Request, parsed: SegmentationRequest) -> Response:
    """Find everything.

    With `Accept: application/x-ndjson` the answer comes in lines: `{"progress": {"done",
    "total"}}` whenever it gets further, and at the end what is the answer without it. An error
    before the first line is an answer as usual; a later one is the last line.

    Raises:
        GatewayError, ClientDisconnect: there is no answer, or nobody to get it.
    """
    gateway, context = gateway_of(request), context_of(request)
    set_deadline(request, gateway.settings.everything_timeout_s)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    furthest = -1

    def report(done: int, total: int) -> None:
        nonlocal furthest
        if done > furthest:  # A crash makes it start again.
            furthest = done
            lines.put_nowait(orjson.dumps({"progress": {"done": done, "total": total}}) + b"\n")

    async def find() -> bytes:
        try:
            with deadline(request):
                result = await _find(parsed, gateway, context, report)
            return success(context, result)
        finally:
            lines.put_nowait(None)

    if LINES not in request.headers.get("accept", ""):
        content = await unless_caller_leaves(request, find())
        return Response(content, media_type="application/json")

    work = asyncio.create_task(find())
    try:
        first = await unless_caller_leaves(request, lines.get())
        if first is None:
            return Response(await work + b"\n", media_type=LINES)
    except BaseException:
        work.cancel()
        raise

    async def rest() -> AsyncIterator[bytes]:
        line: bytes | None = first
        try:
            while line is not None:
                yield line
                if await request.is_disconnected():
                    raise ClientDisconnect
                line = await lines.get()
            yield await _last_line(work, context)
        finally:
            work.cancel()

    # No proxy shall keep lines back.
    return StreamingResponse(rest(), media_type=LINES, headers={"X-Accel-Buffering": "no"})


async def _last_line(work: Awaitable[bytes], context: RequestContext) -> bytes:
    try:
        return await work + b"\n"
    except Exception as found:
        error = found if isinstance(found, GatewayError) else InferenceFailedError()
        context.refusal = error.reason
        content = {
            "logId": context.log_id,
            "errorCode": error.status_code,
            "errorMsg": str(error),
        }
        return orjson.dumps(content) + b"\n"


async def _find(
    parsed: SegmentationRequest, gateway: Gateway, context: RequestContext, report: Report
) -> dict[str, Any]:
    """The `result` of the answer."""
    image, image_id = await gateway.image_of(parsed.image, parsed.image_id, context)
    options = parsed.everything
    settings = gateway.settings
    question = EverythingQuestion(
        image,
        image_id,
        {} if options is None else options.model_dump(exclude_none=True, exclude_unset=True),
        visualize=settings.visualize if parsed.visualize is None else parsed.visualize,
        model=parsed.model,
    )

    def find(route: str) -> Awaitable[EverythingFound]:
        return gateway.everything.find(
            question,
            request_id=context.short_log_id,
            timeout_s=context.remaining_s,
            report=report,
            route=route,
        )

    with context.measure("triton"):
        found = await gateway.recovery.run(find, image_id, parsed.model)
    gateway.readiness.note_success()
    context.note_stages(found.stage_seconds)
    return result_of(found, _mask_infos(found), gateway.references, image_id, image)


def _mask_infos(found: EverythingFound) -> list[dict[str, Any]]:
    """`maskInfos` of the answer; see `schemas.MaskInfo`."""
    rows = {name: array.tolist() for name, array in found.arrays.items()}
    infos = []
    for k in range(len(found.counts)):
        info = {
            "label": EVERYTHING,
            "prompt": rows["points"][k],
            "score": rows["scores"][k],
            "stabilityScore": rows["stability_scores"][k],
            "area": rows["areas"][k],
            "box": rows["boxes"][k],
            "point": rows["points"][k],
            "cropBox": rows["crop_boxes"][k],
        }
        if math.isnan(info["stabilityScore"]):
            del info["stabilityScore"]  # An empty mask; there are none unless asked for.
        infos.append(info)
    return infos
