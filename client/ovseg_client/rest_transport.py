"""Requests to the gateway: JSON over HTTP, in the form that PaddleX documents."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
from typing import Any

import httpx
import numpy as np

from ovseg_client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    RequestTimeoutError,
    error_for,
)
from ovseg_client.images import is_url, read_image
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.transport import PredictRequest

_PATH = "/open-vocabulary-segmentation"
_REMEMBERED_IMAGES = 1000
_THIS_MACHINE = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")


class RestTransport:
    """Talks to the gateway at `base_url`."""

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=True if ca_file is None else _trusting(ca_file),
            # A proxy of the environment cannot reach a server on this machine.
            mounts={f"all://{host}": None for host in _THIS_MACHINE},
        )
        self._held: dict[str, None] = {}
        """Ids of images that the service has said it keeps, the latest last."""

    def predict(self, request: PredictRequest) -> Prediction:
        """Send one request; the image only if the service does not keep it already.

        Raises:
            ValueError: what is to be refined was not kept.
            OvsegError: the service refused or failed, or cannot be reached.
        """
        if is_url(request.image):
            return self._ask(request, {"image": request.image})
        file = read_image(request.image)
        image_id = hashlib.sha256(file).hexdigest()
        if image_id in self._held:
            try:
                return self._ask(request, {"imageId": image_id})
            except InvalidRequestError as error:
                if error.status != 404:
                    raise
                self._held.pop(image_id, None)  # The service has forgotten it.
        return self._ask(request, {"image": base64.b64encode(file).decode("ascii")})

    def _ask(self, request: PredictRequest, image: dict[str, str]) -> Prediction:
        response = self._post(request_body(request, image))
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if response.status_code != 200:
            message = answer.get("errorMsg") or f"the server answered {response.status_code}"
            raise error_for(response.status_code, message, answer.get("logId", ""))
        if image_id := answer["result"].get("imageId"):
            self._held.pop(image_id, None)
            self._held[image_id] = None
            if len(self._held) > _REMEMBERED_IMAGES:
                self._held.pop(next(iter(self._held)), None)
        timing = response.headers.get("server-timing", "")
        return prediction_of(answer, timing, request.multimask)

    def is_ready(self) -> bool:
        """Whether a request would be answered now."""
        try:
            return self._http.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        try:
            return self._http.post(_PATH, json=body)
        except httpx.TimeoutException as error:
            raise RequestTimeoutError(504, f"no answer in time ({type(error).__name__})") from error
        except httpx.TransportError as error:
            raise ConnectionFailedError(f"{self._http.base_url}: {error}") from error


def _trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:  # An OSError too, without the file's name.
        raise ValueError(f"{ca_file}: no certificates in it ({error.reason})") from error


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


def parse_server_timing(header: str) -> dict[str, float]:
    """`json;dur=0.5, triton;dur=30` -> milliseconds by name."""
    timings = {}
    for entry in header.split(","):
        name, found, duration = entry.strip().partition(";dur=")
        if found:
            timings[name] = float(duration)
    return timings
