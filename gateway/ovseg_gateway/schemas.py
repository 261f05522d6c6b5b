"""The REST contract as pydantic models: the request that is validated, the answers for the docs.

Field names, types and what is accepted (numeric strings, 0 and 1 as booleans) follow PaddleX's
open-vocabulary segmentation service. Answers are not validated again on their way out: the models
below `SegmentationRequest` only document them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from ovseg.served_models import EVERYTHING

_ROW_LIMIT = 64
"""Bounds the work on a hostile row; the exact length depends on the kind of prompt."""

Point = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Box = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]


def _check_prompt_type(value: str) -> str:
    # The text is PaddleX's, which has no third one.
    if value not in ("box", "point", EVERYTHING):
        raise PydanticCustomError("literal_error", "Input should be 'box' or 'point'")
    return value


def _check_unicode(value: str) -> str:
    """Refuse lone surrogates, which JSON can carry and no answer could echo."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "Input should be valid Unicode") from None
    return value


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


def _alternatives(schema: JsonDict) -> None:
    """Document that `imageId` may stand for `image`, and what may stand for `prompt`."""
    del schema["required"]
    schema["allOf"] = [
        {"anyOf": [{"required": ["image"]}, {"required": ["imageId"]}]},
        {
            "anyOf": [
                {"required": ["prompt", "promptType"]},
                {"required": ["prompts"]},
                {
                    "required": ["promptType"],
                    "properties": {"promptType": {"const": EVERYTHING}},
                },
            ]
        },
    ]


class PromptItem(_Model):
    """One object, marked by points, by a box, or by both; and a mask of it to refine."""

    points: list[Point] = Field([], max_length=_ROW_LIMIT, description="[x, y] of each.")
    labels: list[Literal[0, 1]] | None = Field(
        None, description="Of the points: 1 on the object (the default), 0 not on it."
    )
    box: Box | None = Field(None, description="[x0, y0, x1, y1].")
    mask_id: str | None = Field(
        None, description="The `maskId` of an earlier mask of the same image, to be refined."
    )

    @property
    def labels_of_points(self) -> list[int]:
        """One for each point."""
        return [1] * len(self.points) if self.labels is None else list(self.labels)

    @model_validator(mode="after")
    def _is_complete(self) -> PromptItem:
        if not self.points and not self.box:
            raise PydanticCustomError("value_error", "A prompt should have points, a box or both")
        if self.labels is not None and len(self.labels) != len(self.points):
            raise PydanticCustomError("value_error", "There should be a label for each point")
        return self


class EverythingOptions(_Model):
    """Parameters of SAM's automatic mask generation, by Meta's names and with Meta's defaults."""

    model_config = ConfigDict(extra="forbid")

    points_per_side: int | None = Field(
        None, ge=1, le=1024, description="Of the grid of points; by default the server's (32)."
    )
    points_per_batch: int | None = Field(
        None, ge=1, le=1024, description="Decoded at once; the server's default is also the most."
    )
    pred_iou_thresh: float = Field(
        0.88, ge=0, le=1, description="Masks whose predicted IoU is not above it are dropped."
    )
    stability_score_thresh: float = Field(
        0.95, ge=0, le=1, description="Masks whose stability is below it are dropped."
    )
    stability_score_offset: float = Field(
        1.0, ge=0, le=100, description="How far the threshold is moved to measure stability."
    )
    box_nms_thresh: float = Field(
        0.7, ge=0, le=1, description="IoU of boxes above which two masks are one thing."
    )
    crop_n_layers: int = Field(
        0, ge=0, le=3, description="Layers of crops that are looked at too: 2^i x 2^i in layer i."
    )
    crop_nms_thresh: float = Field(
        0.7, ge=0, le=1, description="`boxNmsThresh` between masks of different crops."
    )
    crop_overlap_ratio: float = Field(
        512 / 1500, ge=0, le=0.9, description="Of crops, as a share of the image's shorter side."
    )
    crop_n_points_downscale_factor: int = Field(
        1, ge=1, le=1024, description="Layer i has `pointsPerSide` / factor^i points a side."
    )
    min_mask_region_area: int = Field(
        0, ge=0, le=2**31 - 1, description="Smaller holes and separate regions are removed."
    )


class SegmentationRequest(_Model):
    """One image and what to find in it; fields that are not listed are ignored."""

    model_config = ConfigDict(json_schema_extra=_alternatives)

    image: str = Field(
        description="The image file as base64 text, as a base64 data: URI, or an http(s) URL."
    )
    image_id: Annotated[str, AfterValidator(_check_unicode)] | None = Field(
        None,
        description="Instead of `image`: the `imageId` of an earlier answer about the same image. "
        "404 if it is not held any more.",
    )
    prompt: list[Annotated[list[FiniteFloat], Field(max_length=_ROW_LIMIT)]] = Field(
        description="One row for each mask: [x0, y0, x1, y1] of a box or [x, y] of a point, in "
        "pixels of the image, x to the right, y down; none for everything."
    )
    prompt_type: Annotated[str, AfterValidator(_check_prompt_type)] = Field(
        description="What the rows of `prompt` are; or everything: find all objects.",
        json_schema_extra={"enum": ["box", "point", EVERYTHING]},
    )
    everything: EverythingOptions | None = Field(
        None, description="With `promptType` everything: how to look for it."
    )
    prompts: list[PromptItem] | None = Field(
        None, description="Instead of `prompt` and `promptType`: one object each."
    )
    multimask: bool = Field(
        False, description="Whether to answer each prompt with three candidates and their scores."
    )
    keep_masks: bool = Field(
        False, description="Whether to give each mask a `maskId`, so that it can be refined."
    )
    visualize: bool | None = Field(
        None, description="Whether the answer holds a picture; null: the server's setting."
    )
    model: Annotated[str, AfterValidator(_check_unicode)] | None = Field(
        None,
        description="A served model; by default the server's, or another that takes such prompts.",
    )
    log_id: Annotated[str, AfterValidator(_check_unicode)] | None = Field(
        None, description="Returned in the answer; made up when missing."
    )


def request_schema() -> dict[str, Any]:
    """The JSON schema of `SegmentationRequest` in one piece, which OpenAPI can hold anywhere."""
    schema = SegmentationRequest.model_json_schema()
    parts = schema.pop("$defs")

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(element) for element in value]
        if isinstance(value, dict):
            if "$ref" in value:
                return inlined(parts[value["$ref"].removeprefix("#/$defs/")])
            return {name: inlined(element) for name, element in value.items()}
        return value

    whole: dict[str, Any] = inlined(schema)
    return whole


class Mask(_Model):
    """One mask in COCO's compressed run-length encoding."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: str = Field(description="With `size`, what `pycocotools.mask.decode` takes.")
    rle_result: str = Field(description="The same text under PaddleX's name.")


class MaskInfo(_Model):
    """What a mask answers to."""

    label: Literal["box_prompt", "point_prompt", "prompt", "everything"]
    prompt: list[float] | PromptItem = Field(description="As the request has it.")
    prompt_index: int | None = Field(
        None, description="Which of the request's `prompts` it answers, from 0."
    )
    mask_id: str | None = Field(
        None, description="To refine this mask, if `keepMasks` was asked for and there is room."
    )
    score: float | None = Field(
        None, description="The model's estimate of the mask's IoU; missing where it makes none."
    )
    stability_score: float | None = Field(
        None,
        description="This and what follows for everything only: how little the mask hangs "
        "on the threshold, 0 to 1.",
    )
    area: int | None = Field(None, description="Of the mask, in pixels.")
    box: tuple[int, int, int, int] | None = Field(
        None, description="x0, y0, x1, y1 of the mask's first and last pixels."
    )
    point: Point | None = Field(None, description="The point of the grid that found it.")
    crop_box: tuple[int, int, int, int] | None = Field(
        None, description="x0, y0, x1, y1 of the crop that it was found in."
    )


class SegmentationResult(_Model):
    """Masks in the order of the request's rows."""

    masks: list[Mask]
    mask_infos: list[MaskInfo]
    image: str | None = Field(None, description="JPEG with the masks drawn, base64 text.")
    image_id: str | None = Field(
        None, description="Stands for the image in further requests; missing where it is not kept."
    )


class SegmentationResponse(_Model):
    """A successful answer."""

    log_id: str
    result: SegmentationResult
    error_code: Literal[0] = 0
    error_msg: Literal["Success"] = "Success"


class StatusResponse(_Model):
    """An answer without a result: a health check, or an error with errorCode = HTTP status."""

    log_id: str
    error_code: int
    error_msg: str
