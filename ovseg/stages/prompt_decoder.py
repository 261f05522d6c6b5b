"""The prompt decoder stage: image embedding + prompts -> low-res masks, predicted IoU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg.engines import Engine
from ovseg.engines.choosing import EngineChoice, EngineSettings, choose_engine, open_engine
from ovseg.manifest import ModelManifest, PromptKind
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.many_prompts import ManyPromptsDecoder, load_many_prompts_decoder
from ovseg.stages.prompts import BOTTOM_RIGHT, FOREGROUND, TOP_LEFT, Prompts

Floats = NDArray[np.float32]

LOW_RES_SIDE = 256
# Prompts given to an engine together; each holds about 28 MB meanwhile, unless it takes them one by
# one. More are no faster (loadtest/decoder_speed.py).
PROMPTS_PER_RUN = 4
# What `ManyPromptsDecoder` is measured to be faster with. In bfloat16 the lengths of its cells,
# sums of products of rounded numbers, would be too far off.
FASTER_FOR_MANY = EngineChoice("openvino", "fp32")


class PromptDecoder(Protocol):
    """What the `prompt_decoder` stage runs."""

    def decode(
        self, embedding: Floats, prompts: Prompts, mask_input: Floats | None, multimask: bool
    ) -> tuple[Floats, Floats]:
        """Decode N prompts on one image.

        Args:
            embedding: float32, of one image, as `ImageEncoder.encode` gives it.
            prompts: N prompts in the model's input frame.
            mask_input: float32 [N, 256, 256], logits of earlier low-res masks, or None.
            multimask: three candidates for each prompt instead of one.

        Returns:
            low-res masks, float32 [N, M, 256, 256] logits, and the predicted IoU of each,
            float32 [N, M]; M is 3 with multimask, else 1.

        Raises:
            InvalidInputError: the model cannot take such prompts.
        """
        ...


def check_mask_input(mask_input: Floats | None, n_prompts: int) -> None:
    """Refuse a mask input that does not go with the prompts.

    Raises:
        InvalidInputError: field `mask_input`; another N than the prompts', NaN or infinite logits.
    """
    if mask_input is None:
        return
    if mask_input.shape != (n_prompts, LOW_RES_SIDE, LOW_RES_SIDE):
        expected = [n_prompts, LOW_RES_SIDE, LOW_RES_SIDE]
        raise InvalidInputError(
            "mask_input", f"shape {list(mask_input.shape)} is not {expected}, one for each prompt"
        )
    if not np.isfinite(mask_input).all():
        raise InvalidInputError("mask_input", "logits must be finite")


class SamPromptDecoder:
    """A split model's decoder: SAM's prompt encoder and mask decoder in one program.

    Args:
        engine: the program `prompt_decoder`.
        mask_encoder: the program `mask_encoder`; runs only for prompts with a mask input.
        many: what decodes many prompts; None if this one does.
    """

    def __init__(
        self, engine: Engine, mask_encoder: Engine, many: ManyPromptsDecoder | None = None
    ) -> None:
        self._engine = engine
        self._mask_encoder = mask_encoder
        self._many = many

    def decode(
        self, embedding: Floats, prompts: Prompts, mask_input: Floats | None, multimask: bool
    ) -> tuple[Floats, Floats]:
        """See `PromptDecoder.decode`."""
        # Of the four masks that SAM knows, the first is for one answer, the others are candidates.
        mask_index = np.array([1, 2, 3] if multimask else [0], np.int32)
        n, m = len(prompts), len(mask_index)
        low_res_masks = np.empty((n, m, LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
        scores = np.empty((n, m), np.float32)
        for index, group in prompts.groups():
            for part, masks, iou in self._decode_group(
                embedding,
                group,
                mask_input if mask_input is None else mask_input[index],
                mask_index,
            ):
                low_res_masks[index[part]], scores[index[part]] = masks, iou
        return low_res_masks, scores

    def _decode_group(
        self,
        embedding: Floats,
        group: Prompts,
        mask_input: Floats | None,
        mask_index: NDArray[np.int32],
    ) -> Iterator[tuple[slice, Floats, Floats]]:
        """Prompts with the same number of tokens: which of them, their masks and scores."""
        if mask_input is None and self._many and self._many.is_for(group):
            yield from self._many.decode(embedding, group, mask_index)
            return
        # A mask input makes the image another one for its prompt: such prompts run alone.
        per_run = PROMPTS_PER_RUN if mask_input is None else 1
        image = embedding
        for part in _parts(len(group), per_run):
            if mask_input is not None:
                (image,) = self._mask_encoder.run(embedding=embedding, mask_input=mask_input[part])
            masks, scores = self._engine.run(
                embedding=image,
                point_coords=group.coords[part],
                point_labels=group.labels[part],
                mask_index=mask_index,
            )
            yield part, masks, scores


class FusedPromptDecoder:
    """PaddleX's fused programs: normalised image + prompts -> low-res masks, no scores.

    The image is float32 [1, 3, S, S], prompts are boxes float32 [N, 4] or one point
    float32 [1, 1, 2] (PaddleX's SAMProcessor).

    Args:
        engines: the program for each kind of prompt.
        image_input: name of the input that the image comes in by; of a cut model, "embedding".
    """

    def __init__(self, engines: Mapping[PromptKind, Engine], image_input: str = "images") -> None:
        self._engines = engines
        self._image_input = image_input

    def decode(
        self, embedding: Floats, prompts: Prompts, mask_input: Floats | None, multimask: bool
    ) -> tuple[Floats, Floats]:
        """See `PromptDecoder.decode`."""
        if multimask:
            raise InvalidInputError("multimask", "this model predicts one mask for each prompt")
        if mask_input is not None:
            raise InvalidInputError("mask_input", "this model takes no mask as prompt")
        low_res_masks = np.empty((len(prompts), 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
        boxes, points = self._by_kind(prompts)
        for part in _parts(len(boxes), PROMPTS_PER_RUN):
            rows = np.array([row for row, _ in boxes[part]])
            corners = np.stack([box for _, box in boxes[part]])
            low_res_masks[rows] = self._run("box", embedding, corners)
        for row, point in points:
            low_res_masks[row] = self._run("point", embedding, point[None, None])[0]
        return low_res_masks, np.full((len(prompts), 1), np.nan, np.float32)

    def _run(self, kind: PromptKind, image: Floats, prompts: Floats) -> Floats:
        (masks,) = self._engines[kind].run(**{self._image_input: image, "prompts": prompts})
        return masks.astype(np.float32, copy=False)

    def _by_kind(
        self, prompts: Prompts
    ) -> tuple[list[tuple[int, Floats]], list[tuple[int, Floats]]]:
        """Rows that are one box ([4], xyxy) and rows that are one point ([2])."""
        boxes, points = [], []
        for row in range(len(prompts)):
            coords, labels = prompts.coords[row], prompts.labels[row]
            if sorted(labels[labels >= 0]) == [TOP_LEFT, BOTTOM_RIGHT]:
                corners = [coords[labels == TOP_LEFT][0], coords[labels == BOTTOM_RIGHT][0]]
                boxes.append((row, np.concatenate(corners)))
            elif sorted(labels[labels >= 0]) == [FOREGROUND]:
                points.append((row, coords[labels == FOREGROUND][0]))
            else:
                raise InvalidInputError(
                    "point_labels",
                    f"prompt {row}: this model takes one box or one foreground point per prompt",
                )
        for kind, rows in (("box", boxes), ("point", points)):
            if rows and kind not in self._engines:
                raise InvalidInputError("point_labels", f"this model takes no {kind} prompts")
        return boxes, points


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def load_prompt_decoder(settings: EngineSettings) -> PromptDecoder:
    """The prompt decoder of the model that the settings name.

    Raises:
        ModelNotInstalledError, EngineError: it cannot be loaded; the message says what to do.
    """
    folder = settings.model_folder
    manifest = ModelManifest.load(folder)
    if manifest.kind == "split":
        many = None
        if choose_engine("decoder", settings, manifest) == FASTER_FOR_MANY:
            many = load_many_prompts_decoder(folder, settings.threads)
        return SamPromptDecoder(
            open_engine(folder / "prompt_decoder", settings, manifest),
            open_engine(folder / "mask_encoder", settings, manifest),
            many,
        )
    return FusedPromptDecoder(
        {kind: open_engine(folder / kind, settings, manifest) for kind in manifest.prompt_kinds},
        image_input="images" if manifest.kind == "fused" else "embedding",
    )
