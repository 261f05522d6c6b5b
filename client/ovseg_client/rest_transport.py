"""Requests to the gateway: JSON over HTTP, in the form that PaddleX documents."""

from __future__ import annotations

import base64
import os
import ssl
from typing import Any

import httpx
import numpy as np

from ovseg_client.errors import ConnectionFailedError, RequestTimeoutError, error_for
from ovseg_client.images import Image, is_url, read_image
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.transport import PredictRequest

_PATH = "/open-vocabulary-segmentation"
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")


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

    def predict(self, request: PredictRequest) -> Prediction:
        """Send one request.

        Raises:
            ValueError: prompts that REST has no form for.
            OvsegError: the service refused or failed, or cannot be reached.
        """
        response = self._post(request_body(request))
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if response.status_code != 200:
            message = answer.get("errorMsg") or f"the server answered {response.status_code}"
            raise error_for(response.status_code, message, answer.get("logId", ""))
        return prediction_of(answer, response.headers.get("server-timing", ""))

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


def request_body(request: PredictRequest) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        ValueError: prompts that REST has no form for.
    """
    if request.multimask:
        raise ValueError("multimask needs a gRPC address (grpc://host:8001)")
    if not request.prompts.fit_rest:
        raise ValueError(
            "several points for a mask, or background points, need a gRPC address "
            "(grpc://host:8001)"
        )
    named = {"logId": request.log_id, "model": request.model}
    return {
        "image": _image_field(request.image),
        "prompt": request.prompts.rows,
        "promptType": request.prompts.kind,
        "visualize": request.visualize,
        **{name: value for name, value in named.items() if value is not None},
    }


def prediction_of(answer: dict[str, Any], server_timing: str = "") -> Prediction:
    """The result in a successful answer."""
    result = answer["result"]
    rles = [Rle(size=mask["size"], counts=mask["rleResult"]) for mask in result["masks"]]
    height, width = rles[0]["size"] if rles else (0, 0)
    picture = result.get("image")
    return Prediction(
        rles=rles,
        scores=np.array([info.get("score", np.nan) for info in result["maskInfos"]], np.float32),
        size=(height, width),
        overlay=None if picture is None else base64.b64decode(picture),
        log_id=answer["logId"],
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


def _image_field(image: Image) -> str:
    """A URL as it is (the service fetches it), anything else as base64 text."""
    if is_url(image):
        return image
    return base64.b64encode(read_image(image)).decode("ascii")
