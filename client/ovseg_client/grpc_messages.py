"""Requests and answers of Triton as tensors."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from ovseg_client.everything import Everything, EverythingOptions, EverythingRequest
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.request import PredictRequest
from ovseg_client.triton_modules import triton

_EVERYTHING_OUTPUTS = (
    "progress",
    "counts",
    "size",
    "scores",
    "stability_scores",
    "points",
    "crop_boxes",
)
_FLOATS = frozenset(
    name for name, kind in get_type_hints(EverythingOptions).items() if kind is float
)


def requested(names: list[str]) -> list[Any]:
    """These outputs, as `tritonclient` takes them."""
    return [triton.InferRequestedOutput(name) for name in names]


def everything_output_names(request: EverythingRequest) -> list[str]:
    """The tensors to ask for."""
    return [*_EVERYTHING_OUTPUTS, *(["overlay"] if request.visualize else [])]


def output_names(request: PredictRequest) -> list[str]:
    """The tensors to ask for: the stages of others do not run."""
    wanted = {"overlay": request.visualize, "low_res_masks": request.keep_masks}
    return ["counts", "size", "scores", *(name for name, is_so in wanted.items() if is_so)]


def request_inputs(file: bytes, request: PredictRequest) -> list[Any]:
    """The tensors of a request about an image file."""
    inputs = [
        _input("image", np.array([file], np.object_), "BYTES"),
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


def everything_inputs(file: bytes, request: EverythingRequest) -> list[Any]:
    """The tensors of a request for everything."""
    numbers = [
        _input(name, np.array([value], "f4"), "FP32")
        if name in _FLOATS
        else _input(name, np.array([value], "i4"), "INT32")
        for name, value in request.parameters.items()
    ]
    return [_input("image", np.array([file], np.object_), "BYTES"), *numbers]


def everything_of(result: Any, request: EverythingRequest) -> Everything:
    """The result in Triton's last answer; each tensor has a row for each mask."""
    height, width = (int(side) for side in result.as_numpy("size"))
    return Everything(
        rles=[
            Rle(size=[height, width], counts=counts.decode("ascii"))
            for counts in result.as_numpy("counts")
        ],
        scores=result.as_numpy("scores"),
        size=(height, width),
        overlay=bytes(result.as_numpy("overlay")[0]) if request.visualize else None,
        log_id=request.log_id or "",
        stability_scores=result.as_numpy("stability_scores"),
        points=result.as_numpy("points"),
        crop_boxes=result.as_numpy("crop_boxes"),
    )


def _input(name: str, value: npt.NDArray[Any], datatype: str) -> Any:
    tensor = triton.InferInput(name, list(value.shape), datatype)
    tensor.set_data_from_numpy(value)
    return tensor
