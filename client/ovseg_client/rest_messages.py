"""Requests and answers of the gateway as JSON, in the form that PaddleX documents."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np

from ovseg_client.errors import error_for
from ovseg_client.everything import Everything, EverythingRequest
from ovseg_client.images import LoadedImage
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.request import PredictRequest


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]
    """Their names in any case."""
    content: bytes


def encode_request(
    request: PredictRequest | EverythingRequest, image: LoadedImage, *, by_id: bool = False
) -> bytes:
    """The body of a request: with the image itself, or with the service's name for it."""
    field = _image_field(image, by_id)
    if isinstance(request, EverythingRequest):
        return json.dumps(everything_body(request, field)).encode("ascii")
    return json.dumps(request_body(request, field)).encode("ascii")


def _image_field(image: LoadedImage, by_id: bool) -> dict[str, str]:
    if by_id and image.image_id is not None:
        return {"imageId": image.image_id}
    if image.file is None:
        return {"image": image.url or ""}
    return {"image": base64.b64encode(image.file).decode("ascii")}


def request_body(request: PredictRequest, image: dict[str, str]) -> dict[str, Any]:
    """The JSON object of a request; `image` holds the field `image` or `imageId`."""
    prompts: dict[str, Any] = {"prompts": request.prompts.items}
    if request.refine is not None:
        for item, mask_id in zip(prompts["prompts"], _mask_ids(request.refine), strict=True):
            item["maskId"] = mask_id
    elif request.prompts.fit_rows:  # PaddleX's own server understands these too.
        prompts = {"prompt": request.prompts.rows, "promptType": request.prompts.kind}
    if request.multimask:
        prompts["multimask"] = True
    if request.keep_masks:
        prompts["keepMasks"] = True
    named = {"logId": request.log_id, "model": request.model}
    return {
        **image,
        **prompts,
        "visualize": request.visualize,
        **{name: value for name, value in named.items() if value is not None},
    }


def everything_body(request: EverythingRequest, image: dict[str, str]) -> dict[str, Any]:
    """The JSON object of a request for everything; `image` as of `request_body`."""
    named = {"logId": request.log_id, "model": request.model}
    return {
        **image,
        "promptType": "everything",
        "everything": {_camel(name): value for name, value in request.parameters.items()},
        "visualize": request.visualize,
        **{name: value for name, value in named.items() if value is not None},
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _mask_ids(prediction: Prediction) -> list[str]:
    ids = prediction.mask_ids
    if ids is None:
        raise ValueError("refine must have been predicted over REST with keep_masks=True")
    best = prediction.best if prediction.scores.ndim == 2 else [0] * len(ids)
    found = [
        entry if isinstance(entry, str) else entry[i] for entry, i in zip(ids, best, strict=True)
    ]
    if not all(found):
        raise ValueError("the service had no room to keep the masks that refine has")
    return found


def decode_answer(answer: Answer) -> tuple[dict[str, Any], str | None]:
    """A successful answer's JSON, and the service's name for the image if it keeps it.

    Raises:
        ApiError: it is no success.
    """
    try:
        content = json.loads(answer.content)
    except ValueError:
        content = {}
    if answer.status != 200 or not isinstance(content, dict) or "result" not in content:
        known = content if isinstance(content, dict) else {}
        message = known.get("errorMsg") or f"the server answered {answer.status}"
        wait_s = parse_retry_after(answer.headers.get("retry-after", ""))
        raise error_for(answer.status, message, known.get("logId", ""), wait_s)
    return content, content["result"].get("imageId")


def prediction_of(
    answer: dict[str, Any], server_timing: str = "", multimask: bool = False
) -> Prediction:
    """The result in a successful answer; with `multimask` three masks a prompt."""
    result = answer["result"]
    rles = [Rle(size=mask["size"], counts=mask["rleResult"]) for mask in result["masks"]]
    scores = np.array([info.get("score", np.nan) for info in result["maskInfos"]], np.float32)
    height, width = rles[0]["size"] if rles else (0, 0)
    picture = result.get("image")
    ids = [info.get("maskId", "") for info in result["maskInfos"]]
    return Prediction(
        rles=[rles[i : i + 3] for i in range(0, len(rles), 3)] if multimask else rles,
        scores=scores.reshape(-1, 3) if multimask else scores,
        size=(height, width),
        overlay=None if picture is None else base64.b64decode(picture),
        log_id=answer["logId"],
        mask_ids=([ids[i : i + 3] for i in range(0, len(ids), 3)] if multimask else ids)
        if any(ids)
        else None,
        timings=parse_server_timing(server_timing),
    )


def everything_of(answer: dict[str, Any], server_timing: str = "") -> Everything:
    """Everything in a successful answer."""
    infos = answer["result"]["maskInfos"]
    prediction = prediction_of(answer, server_timing)
    return Everything(
        **vars(prediction),
        stability_scores=np.array([info.get("stabilityScore", np.nan) for info in infos], "f4"),
        points=np.array([info["point"] for info in infos], np.float32).reshape(-1, 2),
        crop_boxes=np.array([info["cropBox"] for info in infos], np.int32).reshape(-1, 4),
    )


def parse_server_timing(header: str) -> dict[str, float]:
    """`json;dur=0.5, triton;dur=30` -> milliseconds by name."""
    timings = {}
    for entry in header.split(","):
        name, found, duration = entry.strip().partition(";dur=")
        if found:
            timings[name] = float(duration)
    return timings


def parse_retry_after(header: str) -> float | None:
    """Seconds from now; None for an empty header, and for one that cannot be read."""
    if header.isdecimal():
        return float(header)
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
