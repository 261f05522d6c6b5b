"""Random crops of scenes, on the device: scale, aspect, flips, quarter turns, tints."""

from __future__ import annotations

import torch
from model import MEAN, STD
from torch import Tensor
from torch.nn import functional as F

LETTERBOX_SHARE = 0.4


def crops(scenes: Tensor, size: int, least: float) -> tuple[Tensor, Tensor]:
    """Scenes uint8 [B, S, S, 5] -> pixels float [B, 3, size, size] and labels [B, 2, size, size].

    Some crops are not square: these are padded to the right or below with zeros after normalising,
    as pictures that are not square are served. `least` is the smallest side of a crop, of S.
    """
    b, side, device = scenes.shape[0], scenes.shape[1], scenes.device

    def chance(share: float) -> Tensor:
        return torch.rand(b, device=device) < share

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(b, *shape, device=device) * (high - low) + low

    one = torch.ones(b, device=device)
    zoom = torch.where(chance(0.65), uniform(least, 1), one)
    kept = torch.where(chance(LETTERBOX_SHARE), uniform(0.5, 0.97), one)
    landscape = chance(0.65)
    width, height = torch.where(landscape, one, kept), torch.where(landscape, kept, one)
    turned, mirrored, upside = chance(0.2), chance(0.5), chance(0.08)
    free_x = 1 - zoom * torch.where(turned, height, width)
    free_y = 1 - zoom * torch.where(turned, width, height)
    x0, y0 = uniform(0, 1) * free_x, uniform(0, 1) * free_y

    def grid(n: int) -> tuple[Tensor, Tensor]:
        """Where the pixels of an n x n picture lie in the scene, and which are not padding."""
        steps = (torch.arange(n, device=device) + 0.5) / n
        v, u = torch.meshgrid(steps, steps, indexing="ij")
        u, v = u.expand(b, n, n), v.expand(b, n, n)
        w, h = width[:, None, None], height[:, None, None]
        inside = (u < w) & (v < h)
        u = torch.where(mirrored[:, None, None], w - u, u)
        v = torch.where(upside[:, None, None], h - v, v)
        t = turned[:, None, None]
        u, v = torch.where(t, v, u), torch.where(t, u, v)
        x = x0[:, None, None] + u * zoom[:, None, None]
        y = y0[:, None, None] + v * zoom[:, None, None]
        return torch.stack([x, y], 3) * 2 - 1, inside

    finer = 2 if size < side else 1
    image = scenes[..., :3].permute(0, 3, 1, 2).float()
    at, _ = grid(size * finer)
    image = F.grid_sample(image, at, padding_mode="border", align_corners=False)
    image = F.avg_pool2d(image, finer) if finer > 1 else image
    image = tint(image, chance, uniform)
    at, inside = grid(size)
    labels = scenes[..., 3:].permute(0, 3, 1, 2).float()
    labels = F.grid_sample(labels, at, mode="nearest", padding_mode="border", align_corners=False)
    pixels = (image - MEAN.to(device)) / STD.to(device)
    return pixels * inside[:, None], (labels * inside[:, None]).round().to(torch.uint8)


def tint(image: Tensor, chance, uniform) -> Tensor:  # type: ignore[no-untyped-def]
    """Gains by channel, contrast, grey, and exchanged channels, each of some images."""
    b = image.shape[0]
    gain = torch.where(chance(0.3)[:, None], uniform(0.65, 1.3, 3), 1.0)
    contrast = torch.where(chance(0.3), uniform(0.6, 1.4), 1.0)[:, None, None, None]
    image = (image * gain[:, :, None, None] - 128) * contrast + 128
    order = torch.rand(b, 3, device=image.device).argsort(1)
    plain = torch.arange(3, device=image.device).expand(b, 3)
    order = torch.where(chance(0.12)[:, None], order, plain)
    image = image.gather(1, order[:, :, None, None].expand_as(image))
    grey = image.mean(1, keepdim=True).expand_as(image)
    return torch.where(chance(0.05)[:, None, None, None], grey, image).clamp(0, 255)
