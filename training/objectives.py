"""Dense objectives that teach the encoder from every pixel in one pass, before any prompt.

A linear head on the embedding predicts, at stride 4: a 16-channel descriptor, the edges of the
object's box, and the foreground and outline maps. Pixels of one object must get equal descriptors
and boxes: for sampled pixels, exp-like similarity to every other pixel is trained as a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DESCRIPTOR = 16
CHANNELS = DESCRIPTOR + 6


def dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """[..., N] against [..., N] -> [...]."""
    overlap = 2 * (probability * target).sum(-1) + 1
    return 1 - overlap / (probability.sum(-1) + target.sum(-1) + 1)


class DenseHead(nn.Module):
    """[B, 256, g, g] -> [B, 22, 2g, 2g] and the losses on it."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.linear = nn.Conv2d(width, CHANNELS * 4, 1)
        self.scale = nn.Parameter(torch.tensor([1.0, 8.0, 1.0]))

    def losses(self, embedding: Tensor, labels: Tensor, queries: int = 48) -> dict[str, Tensor]:
        """Losses and the mean IoU of the query masks; labels [B, S, S] with S = 8 g."""
        maps = F.pixel_shuffle(self.linear(embedding), 2)
        b, _, h, _ = maps.shape
        labels = labels[:, 2::4, 2::4]
        flat = labels.reshape(b, -1).long()  # [B, N]
        inside = flat > 0
        grid = (torch.arange(h) + 0.5) / h
        ys, xs = torch.meshgrid(grid, grid, indexing="ij")
        position = torch.stack([xs, ys, xs, ys]).reshape(1, 4, -1)  # [1, 4, N]
        descriptor = maps[:, :DESCRIPTOR].flatten(2)
        edges = maps[:, DESCRIPTOR : DESCRIPTOR + 4].flatten(2) + position  # x0 y0 x1 y1 in 0..1

        same = flat[:, :, None] == torch.arange(1, 10)  # [B, N, 9]
        far = torch.full((), 9.0)
        low = torch.where(same[:, None], position[:, :2, :, None], far).amin(2)  # [B, 2, 9]
        high = torch.where(same[:, None], position[:, 2:, :, None], -far).amax(2)
        boxes = torch.cat([low, high], 1)
        target = boxes.gather(2, (flat - 1).clamp(min=0)[:, None].expand(-1, 4, -1))
        error = F.smooth_l1_loss(edges, target, reduction="none", beta=0.05).sum(1)
        edge_loss = (error * inside).sum() / inside.sum().clamp(min=1)

        outline = torch.zeros_like(labels, dtype=torch.bool)
        outline[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
        outline[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        weight = torch.where(outline, 4.0, 1.0)
        logits = maps[:, DESCRIPTOR + 4 :]
        outline_loss = F.binary_cross_entropy_with_logits(logits[:, 0], outline.float(), weight)
        inside_loss = F.binary_cross_entropy_with_logits(logits[:, 1].flatten(1), inside.float())

        areas = same.sum(1).float()  # every object is queried equally often
        chance = torch.where(inside, 1 / areas.gather(1, (flat - 1).clamp(min=0)), 1e-7)
        index = torch.multinomial(chance, queries, replacement=True)  # [B, Q]
        points = torch.cat([descriptor * self.scale[0], edges * self.scale[1]], 1).transpose(1, 2)
        anchors = points.gather(1, index[:, :, None].expand(-1, -1, points.shape[2]))
        cross = anchors @ points.transpose(1, 2)  # [B, Q, N]
        distance = anchors.square().sum(2)[:, :, None] + points.square().sum(2)[:, None] - 2 * cross
        similarity = self.scale[2] * 3 - distance
        truth = flat[:, None] == flat.gather(1, index)[:, :, None]
        truth = (truth & inside[:, None]).float()
        query_loss = F.binary_cross_entropy_with_logits(similarity, truth)
        query_loss = query_loss + dice_loss(similarity.sigmoid(), truth).mean()
        guess = similarity > 0
        iou = (guess & truth.bool()).sum(2) / (guess | truth.bool()).sum(2).clamp(min=1)
        return {
            "query": query_loss,
            "edge": 2 * edge_loss,
            "outline": outline_loss,
            "inside": 0.5 * inside_loss,
            "query_iou": iou.mean().detach(),
        }
