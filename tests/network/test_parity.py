"""The served path (photo, programs, stages) gives what other implementations give.

These are Meta's SamPredictor, MobileSAM's, and transformers' SamModel with its processor.

The bounds: embedding 1e-4, low-resolution logits and predicted IoU 1e-3, masks IoU 0.999.
`OVSEG_GOLDEN_DIR` names another folder of answers, see `make test-reference`. SAM's ViT-B, which
takes more than a minute, is compared only there, or with `OVSEG_GOLDEN_DIR=tests/golden`; the same
code in other sizes is compared always.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from cases import (
    COMPARED,
    EMBEDDING_STEP,
    LOGIT_STEP,
    PHOTO_FOLDER,
    Case,
    Golden,
    mask_input,
)
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.prompt_decoder import SamPromptDecoder
from ovseg.stages.prompts import BOTTOM_RIGHT, TOP_LEFT, Prompts

SIDE = 1024
THREADS = 2


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo after our encoder."""

    original_size: tuple[int, int]
    input_size: tuple[int, int]
    embedding: NDArray[np.float32]
    decoder: SamPromptDecoder


@cache
def encode(golden: Golden, model_dir: Path) -> EncodedPhoto:
    folder = model_dir / golden.model
    photo = decode_image((PHOTO_FOLDER / golden.photo).read_bytes(), max_pixels=10**7)
    pixels, input_size = resize_longest_side(photo, SIDE)
    (embedding,) = PaddleEngine(folder / "encoder", THREADS).run(
        pixels=pixels[None], input_size=np.array([input_size], np.int32)
    )
    decoder = SamPromptDecoder(
        PaddleEngine(folder / "prompt_decoder", THREADS),
        PaddleEngine(folder / "mask_encoder", THREADS),
    )
    return EncodedPhoto(photo.shape[:2], input_size, embedding, decoder)


def prompts_of(case: Case) -> Prompts:
    """A case as the API's tensors: points first, then the corners of the box."""
    coords, labels = list(case.points), list(case.labels)
    if case.box is not None:
        coords += [case.box[:2], case.box[2:]]
        labels += [TOP_LEFT, BOTTOM_RIGHT]
    return Prompts(np.array([coords], np.float32), np.array([labels], np.int32))


def predict(photo: EncodedPhoto, case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """Low-resolution logits [M, 256, 256] and predicted IoU [M]."""
    logits, scores = photo.decoder.decode(
        photo.embedding,
        prompts_of(case).scaled(photo.original_size, SIDE),
        mask_input()[None] if case.has_mask_input else None,
        case.multimask,
    )
    return logits[0], scores[0]


def full_size_masks(photo: EncodedPhoto, logits: NDArray[Any]) -> NDArray[Any]:
    """SAM's two bilinear steps: [M, 256, 256] logits -> bool [M, H, W]."""
    height, width = photo.input_size
    masks = paddle.to_tensor(logits[None])
    masks = paddle.nn.functional.interpolate(masks, [SIDE, SIDE], mode="bilinear")
    masks = masks[:, :, :height, :width]
    masks = paddle.nn.functional.interpolate(masks, photo.original_size, mode="bilinear")
    return masks[0].numpy() > 0


@pytest.mark.parametrize("golden", COMPARED, ids=lambda golden: golden.name)
def test_embedding(golden: Golden, golden_folder: Path, model_dir: Path) -> None:
    answers = np.load(golden_folder / f"{golden.name}.npz")
    photo = encode(golden, model_dir)
    assert photo.input_size == tuple(answers["input_size"])
    embedding = photo.embedding.transpose(0, 3, 1, 2)
    assert embedding.shape == tuple(answers["embedding_shape"])
    sampled = embedding.ravel()[::EMBEDDING_STEP]
    difference = np.abs(sampled - answers["embedding"]).max()
    print(f"embedding differs by {difference:.1e} at most")
    assert difference < 1e-4


@pytest.mark.parametrize(
    ("golden", "case"),
    [
        pytest.param(golden, case, id=f"{golden.name}-{case.name}")
        for golden in COMPARED
        for case in golden.cases
    ],
)
def test_prompt(golden: Golden, case: Case, golden_folder: Path, model_dir: Path) -> None:
    answers = np.load(golden_folder / f"{golden.name}.npz")
    photo = encode(golden, model_dir)
    logits, scores = predict(photo, case)

    expected_logits = answers[f"{case.name}.low_res_logits"]
    logit_difference = np.abs(logits[:, ::LOGIT_STEP, ::LOGIT_STEP] - expected_logits).max()
    score_difference = np.abs(scores - answers[f"{case.name}.iou_predictions"]).max()
    height, width = photo.original_size
    expected_masks = [
        coco_mask.decode({"size": [height, width], "counts": bytes(counts)}).astype(bool)
        for counts in answers[f"{case.name}.rle"]
    ]
    masks = full_size_masks(photo, logits)
    assert len(masks) == len(expected_masks) == (3 if case.multimask else 1)
    ious = [
        (mask & expected).sum() / (mask | expected).sum()
        for mask, expected in zip(masks, expected_masks, strict=True)
    ]
    print(
        f"logits differ by {logit_difference:.1e}, predicted IoU by {score_difference:.1e} at "
        f"most; lowest mask IoU {min(ious):.6f}"
    )
    assert logit_difference < 1e-3
    assert score_difference < 1e-3
    assert min(ious) >= 0.999
