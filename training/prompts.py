"""Prompts drawn from label maps, and the losses of the masks they give; all on the device.

A click has two right answers where a part is seen: the object and the part. The three masks of a
click must hold both. Its single mask is the one asked for: mostly the object, but where a thing
sticks to it, as a badge on a coat, more often that thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from composites import PARTS, STUCK
from torch import Tensor
from torch.nn import functional as F

PAD, NEGATIVE, POSITIVE, CORNER_A, CORNER_B = -1, 0, 1, 2, 3
SMALLEST = 0.0012  # of the frame: what shows less of itself is not asked for
PART_SHARE = 0.4  # of the prompts, where parts can be seen
RARE_ANSWER = 0.3  # weight of a click's single mask where the other answer is the commoner one
BOXES_OF_THREE = 0.3  # weight of the three masks of a box


@dataclass
class PromptBatch:
    """n = B * P first prompts of two tokens each: a jittered box, or a point and padding."""

    points: Tensor  # [n, 2, 2] fractions of the frame
    kinds: Tensor  # [n, 2]
    targets: Tensor  # [n, 2, S/2, S/2] in 0..1: what is asked for, and the click's other answer
    weights: Tensor  # [n], 0 where the image shows no object
    has_other: Tensor  # [n]
    single: Tensor  # [n] weight of the single mask of the first prompt
    is_box: Tensor  # [n]


def pick(area: Tensor) -> Tensor:
    """A pixel (x, y) of each area [n, h, w] > 0, as fractions [n, 2]: any, or one deep inside."""
    n, h, w = area.shape
    small = F.adaptive_avg_pool2d(area[:, None], 64)
    blurred = [F.avg_pool2d(small, k, 1, k // 2) for k in (1, 3, 9, 21)]
    depth = F.interpolate(torch.stack(blurred).sum(0), (h, w), mode="nearest")[:, 0]
    noise = torch.rand_like(area)
    deep = torch.rand(n, 1, 1, device=area.device) < 0.5
    score = torch.where(deep, depth + 0.2 * noise, noise) + 10 * (area > 0)
    index = score.flatten(1).argmax(1)
    return torch.stack([(index % w + 0.5) / w, (index // w + 0.5) / h], 1)


def corners(mask: Tensor) -> Tensor:
    """Boxes of masks [n, S, S], not empty, as fractions [n, 2, 2]: (x0, y0), (x1, y1)."""
    size = mask.shape[1]
    ends = []
    for line in (mask.any(1), mask.any(2)):
        first = line.float().argmax(1)
        last = size - line.flip(1).float().argmax(1)
        ends.append(torch.stack([first, last], 1).float() / size)
    return torch.stack(ends, 2)


def draw_prompts(labels: Tensor, per: int) -> PromptBatch:
    """Objects and parts uint8 [B, 2, S, S] -> `per` prompts for each, half boxes, half points."""
    b, _, size, _ = labels.shape
    n, device = b * per, labels.device
    flat = labels.flatten(2).long()
    areas = torch.zeros(b, 2, 256, device=device)
    areas.scatter_add_(2, flat, torch.ones_like(flat, dtype=torch.float32))
    areas[:, :, 0] = 0
    seen = (areas >= max(SMALLEST * size * size, 100)).float()
    shown = seen.any(2)  # [B, 2]
    chosen = torch.multinomial(seen.flatten(0, 1) + 1e-12, per, replacement=True)
    chosen = chosen.reshape(b, 2, per)
    part = torch.rand(b, per, device=device) < PART_SHARE
    part = (part & shown[:, 1:]) | ~shown[:, :1]
    number = torch.where(part, chosen[:, 1], chosen[:, 0]).flatten()  # [n]
    part = part.flatten()
    weights = shown.any(1).repeat_interleave(per).float()
    image = torch.arange(b, device=device).repeat_interleave(per)
    mask = labels[image, part.long()] == number[:, None, None].to(torch.uint8)  # [n, S, S]

    is_box = torch.rand(n, device=device) < 0.5
    box = corners(mask)
    extent = (box[:, 1] - box[:, 0])[:, None]
    sigma = torch.rand(n, 1, 1, device=device) * 0.08
    noise = (torch.randn(n, 2, 2, device=device) * sigma).clamp(-0.15, 0.15)
    box = (box + noise * extent).clamp(0, 1)
    click = pick(mask.float())
    points = torch.where(is_box[:, None, None], box, torch.stack([click, click * 0], 1))
    as_box = torch.tensor([CORNER_A, CORNER_B], device=device)
    as_click = torch.tensor([POSITIVE, PAD], device=device)
    kinds = torch.where(is_box[:, None], as_box, as_click)

    xy = (click * size).long().clamp(0, size - 1)
    under = labels[image, :, xy[:, 1], xy[:, 0]]  # [n, 2]: object and part below the click
    other = torch.where(part, under[:, 0], under[:, 1])
    other_seen = seen[image, (~part).long(), other.long()] > 0
    has_other = other_seen & ~is_box & (weights > 0)
    other_mask = labels[image, (~part).long()] == other[:, None, None]
    targets = torch.stack([mask, other_mask & has_other[:, None, None]], 1).float()
    below = torch.where(part, number, under[:, 1].long())
    stuck = (below > 0) & (below % PARTS == STUCK)
    rare = (part & ~stuck) | (~part & stuck)
    single = torch.where(rare & ~is_box, RARE_ANSWER, 1.0)
    return PromptBatch(points, kinds, F.avg_pool2d(targets, 2), weights, has_other, single, is_box)


def add_correction(
    batch: PromptBatch, points: Tensor, kinds: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """One more click per prompt, where the mask logits [n, h, w] are wrong.

    points [n, T, 2], kinds [n, T] -> the same with T + 1 tokens, the click first.
    """
    target = batch.targets[:, 0] > 0.5
    wrong = (logits > 0) != target
    area = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, target)
    click = pick(area.float())
    n, h, w = target.shape
    xy = (click * torch.tensor([w, h], device=click.device)).long()
    inside = target[torch.arange(n, device=click.device), xy[:, 1], xy[:, 0]]
    kind = torch.where(inside, POSITIVE, NEGATIVE)[:, None]
    return torch.cat([click[:, None], points], 1), torch.cat([kind, kinds], 1)


def mask_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, M, h, w] against targets [n, T, h, w] -> loss and IoU, each [n, M, T].

    Cross entropy, in which small objects count more, and the dice loss; both are sums of products,
    so every mask meets every target in one matrix product.
    """
    x, truth = logits.flatten(2).float(), targets.flatten(2).transpose(1, 2)  # [n, M, N] [n, N, T]
    pixels = x.shape[2]
    soft = F.softplus(-x)  # of a pixel inside
    outside = soft + x
    size = truth.sum(1)[:, None]  # [n, 1, T]
    share = (size / pixels).clamp(min=1e-3)
    balance = ((1 - share) / share).sqrt().clamp(min=1)
    cross = outside.sum(2, keepdim=True) - outside @ truth + balance * (soft @ truth)
    chance = x.sigmoid()
    dice = 1 - (2 * (chance @ truth) + 1) / (chance.sum(2, keepdim=True) + size + 1)
    with torch.no_grad():
        guess, real = (x > 0).float(), (truth > 0.5).float()
        both = guess @ real
        union = guess.sum(2, keepdim=True) + real.sum(1)[:, None] - both
        iou = both / union.clamp(min=1)
    return 2 * cross / pixels + dice, iou


def first_loss(
    batch: PromptBatch, logits: Tensor, quality: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the four masks of first prompts, and mean IoUs to report."""
    losses, iou = mask_losses(logits, batch.targets)
    total = batch.weights.sum().clamp(min=1)
    clicks = (~batch.is_box).float()
    three = batch.weights * torch.where(batch.is_box, BOXES_OF_THREE, 1.0)
    choice = losses[:, 1:]
    multi = choice[:, :, 0].min(1).values + 0.05 * choice[:, :, 0].mean(1)
    multi = multi * batch.single + choice[:, :, 1].min(1).values * batch.has_other * 0.5
    error = (quality.float() - iou[:, :, 0]).square()
    loss = losses[:, 0, 0] * batch.weights * batch.single + 0.5 * multi * three
    loss = loss + (error[:, 0] * batch.weights + error[:, 1:].sum(1) * three) * batch.single
    best = iou[:, 1:, 0].gather(1, quality[:, 1:].argmax(1, keepdim=True))[:, 0]

    def mean(value: Tensor, weight: Tensor) -> Tensor:
        return (value * weight).sum() / weight.sum().clamp(min=1)

    usual = clicks * batch.weights * (batch.single == 1)
    return loss.sum() / total, {
        "iou_box": mean(iou[:, 0, 0], (1 - clicks) * batch.weights),
        "iou_point": mean(iou[:, 0, 0], usual),
        "iou_by_score": mean(best, usual),
        "iou_best": mean(iou[:, 1:, 0].max(1).values, usual),
    }


def correction_loss(batch: PromptBatch, logits: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the single mask after a correction, and its mean IoU."""
    losses, iou = mask_losses(logits[:, :1], batch.targets[:, :1])
    error = (quality[:, :1].float() - iou[:, :, 0]).square()
    total = batch.weights.sum().clamp(min=1)
    loss = ((losses[:, 0, 0] + error[:, 0]) * batch.weights).sum() / total
    return loss, (iou[:, 0, 0] * batch.weights).sum() / total
