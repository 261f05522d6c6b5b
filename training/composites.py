"""Synthetic scenes: several occluding objects over photographs and textures, with exact masks.

A scene is an RGB image and a label map: 0 is the background, k is the k-th object. Objects are
cut-outs (emoji, and objects outlined on photographs) as they are or as silhouettes filled with
photographic texture, and random blobs, polygons and rings, plain, textured, or patched from several
textures, so that an object cannot be told by a single colour. Some scenes are no composites but
crops of the outlined photographs themselves.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from cutouts import OutlinedPhoto, cut_out, load_cutouts, load_outlined
from numpy.typing import NDArray

Array = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
Rng = np.random.Generator

PHOTO_SIDE = 960  # photographs are kept with their shorter side at most so long
PHOTO_OBJECT_SHARE = 0.25  # of the cut-outs, where there are outlined photographs
REAL_SCENE_SHARE = 0.2
SKIMAGE_PHOTOS = (
    "brick.png", "camera.png", "cell.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
    "motorcycle_right.png", "page.png", "retina.jpg",
)  # fmt: skip


class Library:
    """The source pictures: sets of cut-outs [N, 256, 256, 4] and photographs, uint8 RGB(A).

    Args:
        emoji: sets of cut-outs, see `load_cutouts`.
        photo_dirs: folders of photographs for backgrounds and textures.
        cache: where decoded cut-outs are kept.
        outlined: `outlines/objects.json` and the folder of its pictures, or None.
    """

    def __init__(
        self,
        emoji: list[Path],
        photo_dirs: list[Path],
        cache: Path,
        outlined: tuple[Path, Path] | None = None,
    ) -> None:
        self.cutouts = [load_cutouts(source, cache) for source in emoji]
        self.outlined: list[OutlinedPhoto] = load_outlined(*outlined) if outlined else []
        self.photo_objects = [image for photo in self.outlined for image in cut_out(photo)]
        paths = [p for d in photo_dirs for p in sorted(d.glob("**/*"))]
        paths = [p for p in paths if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
        paths = [p for p in paths if p.parent.name != "data" or p.name in SKIMAGE_PHOTOS]
        self.photos: list[Array] = []
        for path in paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is not None and min(image.shape[:2]) >= 128:
                scale = min(1.0, PHOTO_SIDE / min(image.shape[:2]))
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                self.photos.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def cutout(self, rng: Rng, size: int) -> FloatArray:
        """A random cut-out, [size, size, 4] in 0..255; the first emoji set more often."""
        if self.photo_objects and rng.random() < PHOTO_OBJECT_SHARE:
            image = self.photo_objects[rng.integers(len(self.photo_objects))]
        else:
            chosen = self.cutouts[0 if rng.random() < 0.65 else rng.integers(len(self.cutouts))]
            image = np.asarray(chosen[rng.integers(len(chosen))])
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return image.astype(np.float32)


def real_scene(rng: Rng, photo: OutlinedPhoto, size: int) -> tuple[Array, Array]:
    """A square crop of an outlined photograph; overlapping outlines: the earlier one drawn wins."""
    height, width = photo.image.shape[:2]
    side = int(min(height, width) * rng.uniform(0.5, 1.0))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    labels = np.zeros((height, width), np.uint8)
    order = np.arange(len(photo.masks))
    if rng.random() < 0.4:  # parts before the whole
        order = rng.permutation(order)
    for index in order:
        mask = photo.masks[index] > 0
        if (labels[mask] > 0).mean() < 0.2:
            labels[mask & (labels == 0)] = 1 + index % 250
    crop, label = photo.image[y : y + side, x : x + side], labels[y : y + side, x : x + side]
    smooth = cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR
    crop = cv2.resize(crop, (size, size), interpolation=smooth)
    label = cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST)
    present = np.unique(label[label > 0])[:9]
    small = np.zeros_like(label)
    for number, value in enumerate(present, start=1):
        small[label == value] = number
    return crop, small


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
        mix = rng.normal(0.5, rng.uniform(0.05, 0.4), (size, size, 1)).astype(np.float32)
        mix = cv2.blur(mix, (int(rng.integers(1, 4)), int(rng.integers(1, 8))))[:, :, None]
    else:
        angle, freq = rng.uniform(0, np.pi), rng.uniform(4, 40)
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size
        wave = np.sin(2 * np.pi * freq * (xs * np.cos(angle) + ys * np.sin(angle)))
        if rng.random() < 0.4:
            wave = wave * np.sin(2 * np.pi * freq * (ys * np.cos(angle) - xs * np.sin(angle)))
        mix = (0.5 + 0.5 * np.clip(wave * rng.uniform(1, 6), -1, 1))[:, :, None]
    return np.clip(a + (b - a) * mix, 0, 255).astype(np.float32)


def texture(rng: Rng, library: Library, size: int, wide: bool = False) -> FloatArray:
    """[size, size, 3] in 0..255: photographic more often than procedural."""
    if rng.random() < 0.6:
        return photo_crop(rng, library.photos, size, wide)
    return procedural(rng, size)


def background(rng: Rng, library: Library, size: int) -> FloatArray:
    """[size, size, 3]: one surface, or a few meeting at straight or wavy borders."""
    canvas = texture(rng, library, size, wide=True)
    if rng.random() < 0.45:
        for _ in range(rng.integers(1, 4)):
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
            ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
            side = xs * np.cos(angle) + ys * np.sin(angle) - offset
            side = side + rng.choice([0.0, 0.3]) * (smooth_noise(rng, size, 4, 1)[:, :, 0] - 0.5)
            alpha = np.clip(side * size / rng.uniform(1, 6), 0, 1)[:, :, None]
            canvas = canvas + alpha * (texture(rng, library, size) - canvas)
    return canvas


def random_shape(rng: Rng, size: int) -> FloatArray:
    """[size, size] alpha in 0..1: a blob, polygon, ellipse, bar or ring."""
    mask = np.zeros((size, size), np.uint8)
    kind, c = rng.random(), size / 2
    if kind < 0.55:  # a star-shaped outline: polygon with few corners, blob with many
        corners = int(rng.integers(3, 14))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(rng.uniform(0.2, 0.8), 1, corners)
        if rng.random() < 0.6:
            dense = np.linspace(0, 2 * np.pi, 90)
            spread = np.concatenate([angles - 2 * np.pi, angles, angles + 2 * np.pi])
            radii = np.interp(dense, spread, np.tile(radii, 3))
            radii = np.convolve(np.tile(radii, 3), np.ones(9) / 9, "same")[90:180]
            angles = dense
        xy = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] * c * 0.95 + c
        cv2.fillPoly(mask, [xy.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.75:
        axes = (int(c * 0.95), int(c * rng.uniform(0.3, 0.95)))
        cv2.ellipse(mask, (int(c), int(c)), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    elif kind < 0.92:
        half = int(c * rng.uniform(0.06, 0.9))
        cv2.rectangle(mask, (2, int(c) - half), (size - 3, int(c) + half), 255, -1)
    else:
        width = int(c * rng.uniform(0.1, 0.5))
        axes = (int(c * 0.95) - width // 2, int(c * rng.uniform(0.6, 0.95)) - width // 2)
        cv2.ellipse(mask, (int(c), int(c)), axes, 0, 0, 360, 255, width, cv2.LINE_AA)
    return mask.astype(np.float32) / 255


def _relief(rng: Rng, alpha: FloatArray) -> FloatArray:
    """[h, w, 1] shading factor: light from one side, darker towards the outline."""
    size = alpha.shape[0]
    depth = cv2.GaussianBlur(alpha, (0, 0), size * rng.uniform(0.04, 0.2))
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    slope = (xs * np.cos(angle) + ys * np.sin(angle)) * rng.uniform(0, 0.8)
    shade = 1 - rng.uniform(0, 0.7) * (1 - depth) + slope
    return np.clip(shade, 0.15, 1.6)[:, :, None]


def random_object(rng: Rng, library: Library, size: int) -> tuple[FloatArray, FloatArray]:
    """Colours [size, size, 3] in 0..255 and alpha [size, size] in 0..1."""
    kind = rng.random()
    cutout = library.cutout(rng, size)
    alpha = cutout[:, :, 3] / 255
    if kind < 0.6:
        return cutout[:, :, :3], alpha
    alpha = random_shape(rng, size) if kind > 0.82 else np.clip(alpha * 1.2, 0, 1)
    colour = texture(rng, library, size, wide=rng.random() < 0.5)
    for _ in range(rng.choice([0, 0, 1, 2, 3])):  # patches of another material on one object
        centre = (size / 2, size / 2)
        place = cv2.getRotationMatrix2D(centre, rng.uniform(0, 360), rng.uniform(0.2, 0.8))
        place[:, 2] += rng.uniform(-0.375, 0.375, 2) * size
        patch = cv2.warpAffine(random_shape(rng, size), place, (size, size))[:, :, None]
        colour = colour + patch * (texture(rng, library, size) - colour)
    if rng.random() < 0.8:
        colour = colour * _relief(rng, alpha)
    return np.clip(colour, 0, 255).astype(np.float32), alpha


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
        image = image * rng.uniform(0.6, 1.25, (1, 1, 3) if rng.random() < 0.4 else (1, 1, 1))
        image = (image - 128) * rng.uniform(0.6, 1.3) + 128 + rng.uniform(-20, 20)
    if rng.random() < 0.08:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(1, 12), image.shape)
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(25, 90))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
    return np.ascontiguousarray(out)


def make_scene(rng: Rng, library: Library, size: int) -> tuple[Array, Array]:
    """One scene: image [size, size, 3] uint8 RGB and labels [size, size] uint8."""
    if library.outlined and rng.random() < REAL_SCENE_SHARE:
        photo = library.outlined[rng.integers(len(library.outlined))]
        image, labels = real_scene(rng, photo, size)
        if labels.any():
            return degrade(rng, image.astype(np.float32), gently=True), labels
    return composite(rng, library, size)


def composite(rng: Rng, library: Library, size: int) -> tuple[Array, Array]:
    """One composite: image [size, size, 3] uint8 RGB and labels [size, size] uint8."""
    canvas = background(rng, library, size)
    labels = np.zeros((size, size), np.uint8)
    count = int(rng.integers(1, 9))
    widths = np.exp(rng.uniform(np.log(0.12), np.log(0.9 if count < 5 else 0.6), count)) * size
    if count < 3:
        widths = np.maximum(widths, 0.3 * size)
    drawn = 160 if size <= 256 else 256  # objects are drawn so large, then placed
    for index, width in enumerate(np.sort(widths)[::-1], start=1):
        colour, alpha = random_object(rng, library, drawn)
        squash = np.exp(rng.normal(0, 0.18, 2)) * width / drawn
        if rng.random() < 0.5:
            squash[0] = -squash[0]
        turn = rng.normal(0, 0.35) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        linear = np.array([[cos, -sin], [sin, cos]]) * squash[None, :]
        shift = rng.uniform(0.02, 0.98, 2) * size - linear @ np.full(2, drawn / 2)
        matrix = np.concatenate([linear, shift[:, None]], 1)
        if abs(squash).min() < 0.6:  # avoid aliasing of strongly reduced cut-outs
            k = max(0.1, 0.35 / abs(squash).min() - 0.2)
            colour, alpha = (cv2.GaussianBlur(a, (0, 0), k) for a in (colour, alpha))
        layer = cv2.warpAffine(colour, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, matrix, (size, size))
        if rng.random() < 0.5:
            blur = cv2.GaussianBlur(cover, (0, 0), width * rng.uniform(0.02, 0.12))
            dx, dy = rng.uniform(-0.15, 0.15, 2) * width
            blur = cv2.warpAffine(blur, np.array([[1.0, 0, dx], [0, 1, dy]]), (size, size))
            canvas = canvas * (1 - rng.uniform(0.2, 0.7) * blur[:, :, None])
        canvas = canvas + cover[:, :, None] * (layer - canvas)
        labels[cover > 0.5] = index
    return degrade(rng, canvas), labels
