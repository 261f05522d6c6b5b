"""Prompts drawn from label maps, and the losses of the masks they give."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from model import SamMini
from numpy.typing import NDArray
from objectives import dice_loss
from torch import Tensor
from torch.nn import functional as F

PAD, NEGATIVE, POSITIVE, CORNER_A, CORNER_B = -1, 0, 1, 2, 3
SMALLEST = 0.0025  # of the frame: what shows less of itself is not asked for
PART_SHARE = 0.4  # of the prompts, where parts can be seen
PART_CLICK_WEIGHT = 0.5  # of the first mask: one click means the whole more often than a part


@dataclass
class PromptBatch:
    """n = B * P first prompts of two tokens each: a jittered box, or a point and padding."""

    points: Tensor  # [n, 2, 2] fractions of the frame
    kinds: Tensor  # [n, 2]
    targets: Tensor  # [n, S/2, S/2] in {0, 1}
    weights: Tensor  # [n], 0 where the image shows no object
    is_box: Tensor  # [n]
    is_part: Tensor  # [n]


def inner_point(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    """(x, y) of a random pixel of a mask [H, W] that is not empty."""
    flat = np.flatnonzero(mask)
    y, x = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
    return x, y


def draw_prompts(labels: NDArray[np.uint8], per: int, rng: np.random.Generator) -> PromptBatch:
    """Objects and parts [B, S, S, 2] -> `per` prompts for each, half boxes and half points."""
    b, size, _, _ = labels.shape
    n = b * per
    points, kinds = np.zeros((n, 2, 2), np.float32), np.full((n, 2), PAD)
    targets = np.zeros((n, size // 2, size // 2), np.float32)
    weights, is_box, is_part = np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool)
    for i in range(b):
        turns = []
        for level in range(2):
            areas = np.bincount(labels[i, :, :, level].ravel(), minlength=2)[1:]
            seen = 1 + np.flatnonzero(areas >= SMALLEST * size * size)
            turns.append(itertools.cycle(rng.permutation(seen).tolist()))
        for k in range(i * per, (i + 1) * per):
            level = int(rng.random() < PART_SHARE)
            chosen = next(turns[level], 0)
            if not chosen:  # no part to be seen: ask for an object
                level, chosen = 0, next(turns[0], 0)
            if not chosen:
                continue
            mask = labels[i, :, :, level] == chosen
            targets[k], weights[k] = mask[1::2, 1::2], 1
            is_box[k] = rng.random() < 0.5
            if is_box[k]:
                xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
                box = np.array([[xs[0], ys[0]], [xs[-1] + 1, ys[-1] + 1]], np.float32)
                extent = box[1] - box[0]
                noise = np.clip(rng.normal(0, 0.06, (2, 2)), -0.15, 0.15) * extent
                points[k] = np.clip(box + noise, 0, size) / size
                kinds[k] = CORNER_A, CORNER_B
            else:
                x, y = inner_point(mask, rng)
                points[k, 0] = (x + 0.5) / size, (y + 0.5) / size
                kinds[k, 0] = POSITIVE
            is_part[k] = level == 1
    arrays = (points, kinds, targets, weights, is_box, is_part)
    return PromptBatch(*(torch.from_numpy(a) for a in arrays))


def add_correction(
    batch: PromptBatch, points: Tensor, kinds: Tensor, logits: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One more click per prompt, where the mask logits [n, h, w] are wrong.

    points [n, T, 2], kinds [n, T] -> the same with T + 1 tokens, the click first.
    """
    wrong = ((logits > 0) != (batch.targets > 0.5)).numpy()
    target = batch.targets.numpy() > 0.5
    n, h, w = wrong.shape
    clicks, click_kinds = np.zeros((n, 1, 2), np.float32), np.full((n, 1), PAD)
    for k in range(n):
        area = wrong[k] if wrong[k].any() else target[k]
        if area.any():
            x, y = inner_point(area, rng)
            clicks[k, 0] = (x + 0.5) / w, (y + 0.5) / h
            click_kinds[k, 0] = POSITIVE if target[k, y, x] else NEGATIVE
    points = torch.cat([torch.from_numpy(clicks), points], 1)
    return points, torch.cat([torch.from_numpy(click_kinds), kinds], 1)


def mask_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, M, h, w] against targets [n, h, w] -> loss [n, M] and IoU [n, M]."""
    truth = targets[:, None].expand_as(logits).flatten(2)
    flat = logits.flatten(2)
    share = truth.mean(2, keepdim=True).clamp(min=1e-3)
    balance = 1 + truth * (((1 - share) / share).sqrt() - 1).clamp(min=0)  # small objects count
    cross = F.binary_cross_entropy_with_logits(flat, truth, balance, reduction="none").mean(2)
    loss = 2 * cross + dice_loss(flat.sigmoid(), truth)
    with torch.no_grad():
        guess, real = flat > 0, truth > 0.5
        union = (guess | real).sum(2)
        iou = (guess & real).sum(2) / union.clamp(min=1)
    return loss, iou


def prompt_losses(
    model: SamMini,
    embedding: Tensor,
    labels: NDArray[np.uint8],
    rng: np.random.Generator,
    per: int,
    clicks: int,
) -> dict[str, Tensor]:
    """The loss over first prompts and `clicks` corrections of them; and mean IoUs to report."""
    batch = draw_prompts(labels, per, rng)
    weights, total = batch.weights, batch.weights.sum().clamp(min=1)
    points, kinds = batch.points, batch.kinds
    logits, quality = model.decode(embedding, model.sparse(points, kinds), None)
    losses, iou = mask_loss(logits, batch.targets)
    single = (~batch.is_box).float() * weights
    choice = losses[:, 1:]
    multi = choice.min(1).values + 0.1 * choice.mean(1)
    error = (quality - iou).square()
    first = torch.where(batch.is_part & ~batch.is_box, PART_CLICK_WEIGHT, 1.0) * weights
    loss = (losses[:, 0] * first).sum() + 0.5 * (multi * single).sum()
    loss = loss + 0.5 * (error[:, 0] * weights + error[:, 1:].sum(1) * single).sum()
    loss = loss / total
    best = iou[:, 1:].gather(1, quality[:, 1:].argmax(1, keepdim=True))[:, 0]
    boxed = batch.is_box.float() * weights
    result = {
        "iou_box": (iou[:, 0] * boxed).sum() / boxed.sum().clamp(min=1),
        "iou_point": (iou[:, 0] * single).sum() / single.sum().clamp(min=1),
        "iou_multi": (best * single).sum() / single.sum().clamp(min=1),
    }
    for _ in range(clicks):
        previous = logits[:, 0].detach()
        points, kinds = add_correction(batch, points, kinds, previous, rng)
        mask_inputs = previous[:, None].clamp(-20, 20) if rng.random() < 0.6 else None
        logits, quality = model.decode(embedding, model.sparse(points, kinds), mask_inputs)
        losses, iou = mask_loss(logits[:, :1], batch.targets)
        error = (quality[:, :1] - iou).square()
        loss = loss + ((losses + 0.5 * error)[:, 0] * weights).sum() / total
    return result | {"loss": loss}
