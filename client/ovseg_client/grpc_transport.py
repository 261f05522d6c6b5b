"""Requests straight to Triton: tensors over gRPC, without base64 and JSON."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    OvsegError,
    Problem,
    error_for,
)
from ovseg_client.images import Image, fetch, is_url, read_image
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.transport import PredictRequest

try:
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException
except ImportError as missing:
    raise ImportError(
        f"grpc:// addresses need tritonclient: pip install 'ovseg-client[grpc]' ({missing})"
    ) from missing

MODEL_NAME = "open_vocabulary_segmentation"
_HTTP_STATUSES = {"UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}
# What Triton writes before a stage's own message.
_TRITON_PREFIX = re.compile(r"^(?:\[request id: [^\]]*\] |in ensemble '[^']*', )+")
_READY_TIMEOUT_S = 5.0


class GrpcTransport:
    """Talks to Triton at `address`, host:port."""

    def __init__(
        self,
        address: str,
        timeout_s: float,
        *,
        tls: bool = False,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._client = triton.InferenceServerClient(
            address, ssl=tls, root_certificates=None if ca_file is None else os.fspath(ca_file)
        )

    def predict(self, request: PredictRequest) -> Prediction:
        """Send one request.

        Raises:
            ValueError: what is to be refined was not kept.
            OvsegError: the service refused or failed, or cannot be reached.
        """
        wanted = {"overlay": request.visualize, "low_res_masks": request.keep_masks}
        names = ["counts", "size", "scores", *(name for name, is_so in wanted.items() if is_so)]
        try:
            result = self._client.infer(
                f"{MODEL_NAME}.{request.model}" if request.model else MODEL_NAME,
                request_inputs(request, self._timeout_s),
                outputs=[triton.InferRequestedOutput(name) for name in names],
                request_id=request.log_id or "",
                client_timeout=self._timeout_s,
            )
        except InferenceServerException as error:
            raise self._error(error, request.log_id or "") from error
        return prediction_of(result, request)

    def is_ready(self) -> bool:
        """Whether Triton says that the model is ready (it does not notice a crashed stage)."""
        try:
            return bool(self._client.is_model_ready(MODEL_NAME, client_timeout=_READY_TIMEOUT_S))
        except InferenceServerException:
            return False

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _error(self, error: InferenceServerException, log_id: str) -> OvsegError:
        status = (error.status() or "").removeprefix("StatusCode.")
        message = _TRITON_PREFIX.sub("", error.message() or "")
        if status == "UNAVAILABLE" and "connect" in message:
            return ConnectionFailedError(f"grpc://{self._address}: {message}")
        if status == "INVALID_ARGUMENT":
            return InvalidRequestError(422, message, log_id, _problems(message))
        return error_for(_HTTP_STATUSES.get(status, 500), message, log_id)


def request_inputs(request: PredictRequest, timeout_s: float) -> list[Any]:
    """The tensors of a request; an image URL is fetched here, Triton takes bytes only."""
    image = np.array([_image_bytes(request.image, timeout_s)], np.object_)
    inputs = [
        _input("image", image, "BYTES"),
        _input("point_coords", request.prompts.coords.astype(np.float32), "FP32"),
        _input("point_labels", request.prompts.labels, "INT32"),
    ]
    if request.refine is not None:
        inputs.append(_input("mask_input", _low_res_masks(request.refine), "FP32"))
    if request.multimask:
        inputs.append(_input("multimask", np.array([True]), "BOOL"))
    return inputs


def _low_res_masks(prediction: Prediction) -> npt.NDArray[np.float32]:
    masks = prediction.low_res_masks
    if masks is None:
        raise ValueError("refine must have been predicted over gRPC with keep_masks=True")
    return masks[np.arange(len(masks)), prediction.best] if masks.ndim == 4 else masks


def prediction_of(result: Any, request: PredictRequest) -> Prediction:
    """The result in Triton's answer: `counts` and `scores` [N, M], `size` [2], `overlay` [1]."""
    height, width = (int(side) for side in result.as_numpy("size"))
    rles = [
        [Rle(size=[height, width], counts=counts.decode("ascii")) for counts in candidates]
        for candidates in result.as_numpy("counts")
    ]
    scores = result.as_numpy("scores")
    low_res_masks = result.as_numpy("low_res_masks") if request.keep_masks else None
    if low_res_masks is not None and not request.multimask:
        low_res_masks = low_res_masks[:, 0]
    return Prediction(
        rles=rles if request.multimask else [candidates[0] for candidates in rles],
        scores=scores if request.multimask else scores.reshape(-1),
        size=(height, width),
        overlay=bytes(result.as_numpy("overlay")[0]) if request.visualize else None,
        log_id=request.log_id or "",
        low_res_masks=low_res_masks,
    )


def _problems(message: str) -> list[Problem]:
    """A stage's `tensor: reason`; empty for Triton's own messages."""
    loc, found, reason = message.partition(": ")
    return [Problem(loc, reason)] if found and loc.isidentifier() else []


def _input(name: str, value: npt.NDArray[Any], datatype: str) -> Any:
    tensor = triton.InferInput(name, list(value.shape), datatype)
    tensor.set_data_from_numpy(value)
    return tensor


def _image_bytes(image: Image, timeout_s: float) -> bytes:
    return fetch(image, timeout_s) if is_url(image) else read_image(image)
