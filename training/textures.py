"""Surfaces for the composites: photographic and procedural textures, shading, a camera's faults."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
Rng = np.random.Generator


def smooth_noise(rng: Rng, size: int, cells: int, channels: int) -> FloatArray:
    """[size, size, channels] in 0..1, smooth noise with about `cells` bumps a side."""
    grid = rng.random((cells + 1, cells + 1, channels), dtype=np.float32)
    noise = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(noise.reshape(size, size, channels), 0, 1)


def photo_crop(rng: Rng, photos: list[Array], size: int, wide: bool) -> FloatArray:
    """[size, size, 3] in 0..255: a random window of a random photograph, colours jittered."""
    photo = photos[rng.integers(len(photos))]
    limit = min(photo.shape[:2])
    side = int(limit * (rng.uniform(0.5, 1.0) if wide else rng.uniform(0.1, 0.6)))
    y = rng.integers(photo.shape[0] - side + 1)
    x = rng.integers(photo.shape[1] - side + 1)
    crop = cv2.resize(photo[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if not wide and rng.random() < 0.5:
        crop = np.rot90(crop)
    out = crop.astype(np.float32)
    if rng.random() < 0.5:
        out = out * rng.uniform(0.5, 1.4, 3).astype(np.float32) + rng.uniform(-40, 40)
    return np.clip(out, 0, 255)


def procedural(rng: Rng, size: int) -> FloatArray:
    """[size, size, 3] in 0..255: a flat colour, a gradient, noise, stripes or checks."""
    a, b = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    if rng.random() < 0.6:
        b = np.clip(a + rng.normal(0, 35, 3), 0, 255).astype(np.float32)
    kind = rng.random()
    if kind < 0.25:
        mix = smooth_noise(rng, size, 1, 1)
    elif kind < 0.6:
        mix = 0.6 * smooth_noise(rng, size, int(rng.integers(2, 6)), 1)
        mix = mix + 0.4 * smooth_noise(rng, size, int(rng.integers(8, 40)), 1)
    elif kind < 0.75:
        mix = 0.5 + rng.uniform(0.05, 0.4) * rng.standard_normal((size, size, 1), np.float32)
        mix = cv2.blur(mix, (int(rng.integers(1, 4)), int(rng.integers(1, 8))))[:, :, None]
    else:
        angle, freq = rng.uniform(0, np.pi), rng.uniform(4, 40)
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size
        pitch, (cos, sin) = np.float32(2 * np.pi * freq), direction(angle)
        wave = np.sin(pitch * (xs * cos + ys * sin))
        if rng.random() < 0.4:
            wave = wave * np.sin(pitch * (ys * cos - xs * sin))
        mix = (0.5 + 0.5 * np.clip(wave * rng.uniform(1, 6), -1, 1))[:, :, None]
    return np.clip(a + (b - a) * mix, 0, 255).astype(np.float32)


def direction(angle: float) -> tuple[np.float32, np.float32]:
    """Cosine and sine, in float32 so that the arrays they meet stay float32."""
    return np.float32(np.cos(angle)), np.float32(np.sin(angle))


def texture(rng: Rng, photos: list[Array], size: int, wide: bool = False) -> FloatArray:
    """[size, size, 3] in 0..255: photographic more often than procedural."""
    if rng.random() < 0.6:
        return photo_crop(rng, photos, size, wide)
    return procedural(rng, size)


def background(rng: Rng, photos: list[Array], size: int) -> FloatArray:
    """[size, size, 3]: one surface, or a few meeting at straight or wavy borders."""
    canvas = texture(rng, photos, size, wide=True)
    if rng.random() < 0.45:
        for _ in range(rng.integers(1, 4)):
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
            ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
            cos, sin = direction(angle)
            side = xs * cos + ys * sin - offset
            side = side + float(rng.choice([0.0, 0.3])) * (
                smooth_noise(rng, size, 4, 1)[:, :, 0] - 0.5
            )
            alpha = np.clip(side * size / rng.uniform(1, 6), 0, 1)[:, :, None]
            canvas = canvas + alpha * (texture(rng, photos, size) - canvas)
    return canvas


def relief(rng: Rng, alpha: FloatArray) -> FloatArray:
    """[h, w, 1] shading factor: light from one side, darker towards the outline."""
    size = alpha.shape[0]
    depth = cv2.GaussianBlur(alpha, (0, 0), size * rng.uniform(0.04, 0.2))
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    cos, sin = direction(angle)
    slope = (xs * cos + ys * sin) * rng.uniform(0, 0.8)
    shade = 1 - rng.uniform(0, 0.7) * (1 - depth) + slope
    return np.clip(shade, 0.15, 1.6)[:, :, None]


def degrade(rng: Rng, image: FloatArray, gently: bool = False) -> Array:
    """[S, S, 3] -> uint8: camera-like blur, light, noise and JPEG artefacts."""
    size = image.shape[0]
    if gently and rng.random() < 0.6:
        return np.ascontiguousarray(image.astype(np.uint8))
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.006 * size))
    if rng.random() < 0.4:
        image = image * (0.5 + smooth_noise(rng, size, 2, 1))
    if rng.random() < 0.6:
        gain = rng.uniform(0.6, 1.25, (1, 1, 3) if rng.random() < 0.4 else (1, 1, 1))
        image = image * gain.astype(np.float32)
        image = (image - 128) * rng.uniform(0.6, 1.3) + 128 + rng.uniform(-20, 20)
    if rng.random() < 0.08:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.5:
        image = image + rng.uniform(1, 12) * rng.standard_normal(image.shape, np.float32)
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(25, 90))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
    return np.ascontiguousarray(out)
