"""From the bytes of a body to a checked `SegmentationRequest`, with PaddleX's error texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from ovseg.served_models import EVERYTHING
from ovseg.settings import Settings
from ovseg_gateway.context import context_of
from ovseg_gateway.errors import PROBLEM_LIMIT, InvalidRequestError, Problem, UnreadableBodyError
from ovseg_gateway.json_body import decode_json
from ovseg_gateway.schemas import SegmentationRequest

ROW_FORMS = {"box": "[x0, y0, x1, y1]", "point": "[x, y]"}
ROW_LENGTHS = {"box": 4, "point": 2}


async def read_segmentation_request(request: Request, settings: Settings) -> SegmentationRequest:
    """Read, decode and check the body; the caller's `logId` goes into the request's context.

    Raises:
        InvalidRequestError: no JSON object, a field missing or wrong, a limit exceeded.
        UnreadableBodyError: not UTF-8, or nested too deeply.
        BodyTooLargeError: larger than the settings allow.
    """
    context = context_of(request)
    with context.measure("receive"):
        body = await request.body()
    with context.measure("json"):
        if not body:
            raise InvalidRequestError.single("body", "Field required", type="missing")
        # A body that does not say it is JSON is not read as such: pydantic refuses the bytes.
        payload = _decode(body) if _says_json(request) else body
        if payload is not body:
            context.adopt_log_id(payload)
        _check_row_count(payload, settings.max_prompts)
        parsed = _validate(payload)
        check_prompts(parsed, settings.max_coordinate)
    return parsed


def check_prompts(request: SegmentationRequest, max_coordinate: float) -> None:
    """Check that each row has the form of its kind and stays in range.

    Raises:
        InvalidRequestError: names each row (`body.prompt[i]`) or number (`body.prompt[i][j]`).
    """
    problems = _misplaced(request)
    for i, row in enumerate(() if problems else request.prompt):
        if len(row) != ROW_LENGTHS[request.prompt_type]:
            problems.append(_wrong_length(i, len(row), request.prompt_type))
        else:
            problems += _out_of_range(f"body.prompt[{i}]", row, max_coordinate)
    for i, item in enumerate(request.prompts or ()):
        for j, point in enumerate(item.points):
            problems += _out_of_range(f"body.prompts[{i}].points[{j}]", point, max_coordinate)
        problems += _out_of_range(f"body.prompts[{i}].box", item.box or (), max_coordinate)
    if problems:
        raise InvalidRequestError(problems)


def _misplaced(request: SegmentationRequest) -> list[Problem]:
    """Fields that do not go with the kind of prompt."""
    if request.prompt_type != EVERYTHING:
        if request.everything is None:
            return []
        message = f"It goes with promptType {EVERYTHING} only"
        return [Problem("value_error", "body.everything", message)]
    given = {
        "prompt": request.prompt,
        "multimask": request.multimask,
        "keepMasks": request.keep_masks,
    }
    message = f"It does not go with promptType {EVERYTHING}"
    return [Problem("value_error", f"body.{name}", message) for name in given if given[name]]


def _out_of_range(location: str, row: Sequence[float], limit: float) -> list[Problem]:
    message = f"A coordinate should be between -{limit:.15g} and {limit:.15g}"
    return [
        Problem("value_error", f"{location}[{j}]", message)
        for j, number in enumerate(row)
        if abs(number) > limit
    ]


def join_location(parts: Iterable[str | int]) -> str:
    """`("body", "prompt", 0, 1)` -> `"body.prompt[0][1]"`."""
    return "".join(_location_parts(parts))


def _location_parts(parts: Iterable[str | int]) -> Iterator[str]:
    for i, part in enumerate(parts):
        if isinstance(part, int):
            yield f"[{part}]"
        else:
            yield f".{part}" if i else part


def _decode(body: bytes) -> Any:
    try:
        return decode_json(body)
    except json.JSONDecodeError as error:
        location = join_location(("body", error.pos))
        raise InvalidRequestError.single(location, "JSON decode error", "json_invalid") from None
    except (UnicodeDecodeError, RecursionError):
        raise UnreadableBodyError from None


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind, _, subtype = media_type.partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _check_row_count(payload: Any, max_prompts: int) -> None:
    """Refuse too many rows before each of them is looked at."""
    if not isinstance(payload, dict):
        return
    for field in ("prompt", "prompts"):
        rows = payload.get(field)
        if isinstance(rows, list) and len(rows) > max_prompts:
            message = f"At most {max_prompts} prompts are accepted in one request, not {len(rows)}"
            raise InvalidRequestError.single(f"body.{field}", message, type="too_long")


def _validate(payload: Any) -> SegmentationRequest:
    payload = _with_alternatives(payload)
    try:
        # from_attributes: what FastAPI does with a body, and where its error texts come from.
        return SegmentationRequest.model_validate(payload, from_attributes=True)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequestError(
            [
                Problem(error["type"], join_location(("body", *error["loc"])), error["msg"])
                for error in errors[:PROBLEM_LIMIT]
            ]
        ) from None


def _with_alternatives(payload: Any) -> Any:
    """Fill in what need not be there because something else is.

    Not in the schema, where these fields stay required: that is how PaddleX's error texts name
    them when they are missing.
    """
    if not isinstance(payload, dict):
        return payload
    filled = dict(payload)
    if payload.get("imageId") is not None:
        filled.setdefault("image", "")
    if payload.get("promptType") == EVERYTHING:
        filled.setdefault("prompt", [])
    if payload.get("prompts") is not None:
        if "prompt" in payload or "promptType" in payload:
            raise InvalidRequestError.single(
                "body.prompts", "It stands instead of prompt and promptType; give one or the other"
            )
        filled |= {"prompt": [], "promptType": "point"}
    return filled


def _wrong_length(row: int, length: int, prompt_type: str) -> Problem:
    expected = f"{ROW_LENGTHS[prompt_type]} numbers {ROW_FORMS[prompt_type]}"
    return Problem(
        "value_error",
        f"body.prompt[{row}]",
        f"A {prompt_type} prompt should have {expected}, not {length}",
    )
