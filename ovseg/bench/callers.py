"""Clients that measure: one request at a time, as little work of their own as possible.

One client is one connection; it is not for use by several threads.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import orjson

from ovseg.bench.workload import Request
from ovseg.served_models import ENSEMBLE

ROUTE = "/open-vocabulary-segmentation"
_KEPT_ALIVE_S = 2.0
_LABELS = {"box": (2, 3), "point": (1,)}


@dataclass(frozen=True)
class Answer:
    """What came back, and when."""

    seconds: float
    failure: str | None = None
    """Why it is no answer, None if it is one."""
    rles: list[dict[str, Any]] = field(default_factory=list)
    """COCO RLE of each mask."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds by name, from `Server-Timing`."""


class Caller(Protocol):
    """A connection to one server."""

    def ask(self, request: Request, timeout_s: float) -> Answer:
        """Send a request and wait; failures are answers too."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class RestCaller:
    """Speaks PaddleX's REST API, over one kept-alive connection."""

    def __init__(self, base_url: str) -> None:
        self._address = urlsplit(base_url).netloc
        self._connection = http.client.HTTPConnection(self._address)
        self._idle_since = time.monotonic()

    def ask(self, request: Request, timeout_s: float) -> Answer:
        """Send a request and wait; its body is made before the clock starts."""
        body = request.body()
        self._connect(timeout_s)
        started = time.perf_counter()
        try:
            self._connection.request("POST", ROUTE, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(time.perf_counter() - started, f"{type(error).__name__}: {error}")
        finally:
            self._idle_since = time.monotonic()
        seconds = time.perf_counter() - started
        if response.status != 200:
            return Answer(seconds, f"status {response.status}: {content[:200]!r}")
        result = orjson.loads(content)["result"]
        # PaddleX's server sends `rleResult`, its documentation says `counts`; we send both.
        rles = [
            {"size": mask["size"], "counts": mask.get("rleResult", mask.get("counts"))}
            for mask in result["masks"]
        ]
        timings = parse_server_timing(response.headers.get("Server-Timing", ""))
        return Answer(seconds, _incomplete(request, rles, result.get("image")), rles, timings)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _connect(self, timeout_s: float) -> None:
        self._connection.timeout = timeout_s
        if time.monotonic() - self._idle_since > _KEPT_ALIVE_S:
            # Uvicorn, which both servers run in, hangs up after 5 idle seconds.
            self._connection.close()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)


class GrpcCaller:
    """Calls the ensemble directly."""

    def __init__(self, address: str) -> None:
        import tritonclient.grpc as triton

        self._triton = triton
        self._client = triton.InferenceServerClient(address)

    def ask(self, request: Request, timeout_s: float) -> Answer:
        """Send a request and wait; its tensors are made before the clock starts."""
        labels = np.tile(np.array(_LABELS[request.kind], np.int32), (len(request.rows), 1))
        coords = np.array(request.rows, np.float32).reshape(*labels.shape, 2)
        inputs = [
            self._tensor("image", np.array([request.image], np.object_), "BYTES"),
            self._tensor("point_coords", coords, "FP32"),
            self._tensor("point_labels", labels, "INT32"),
        ]
        names = ["counts", "size", "scores", *(["overlay"] if request.picture else [])]
        outputs = [self._triton.InferRequestedOutput(name) for name in names]
        started = time.perf_counter()
        try:
            result = self._client.infer(ENSEMBLE, inputs, outputs=outputs, client_timeout=timeout_s)
        except self._triton.InferenceServerException as error:
            return Answer(time.perf_counter() - started, str(error.message()))
        seconds = time.perf_counter() - started
        size = result.as_numpy("size").tolist()
        counts = result.as_numpy("counts").ravel()
        rles = [{"size": size, "counts": text.decode("ascii")} for text in counts]
        overlay = result.as_numpy("overlay")[0] if request.picture else None
        return Answer(seconds, _incomplete(request, rles, overlay), rles)

    def close(self) -> None:
        """Close the channel."""
        self._client.close()

    def _tensor(self, name: str, array: Any, datatype: str) -> Any:
        tensor = self._triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        return tensor


def parse_server_timing(header: str) -> dict[str, float]:
    """`json;dur=0.5, cache;desc=hit` -> milliseconds by name; entries without a duration go."""
    timings = {}
    for entry in header.split(","):
        name, found, duration = entry.strip().partition(";dur=")
        if found:
            timings[name] = float(duration.partition(";")[0])
    return timings


def _incomplete(request: Request, rles: list[dict[str, Any]], picture: object) -> str | None:
    if len(rles) != len(request.rows):
        return f"{len(rles)} masks for {len(request.rows)} prompts"
    if request.picture and not picture:
        return "no picture"
    return None
