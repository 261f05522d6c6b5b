"""Synthetic scenes: several occluding objects over photographs and textures, with exact masks.

A scene is an RGB image and two label maps, [S, S, 2]: objects (0 is the background, k is the k-th
object) and parts of them (0 is no part). Objects are cut-outs (emoji, and objects outlined on
photographs) as they are or as silhouettes filled with photographic texture, and random blobs,
polygons and rings, plain, textured, or patched from several textures, so that an object cannot be
told by a single colour. Parts are regions of emoji, patches, and smaller objects that stick to
larger ones. Some scenes are no composites but crops of photographs, with the outlined objects and
regions of one colour.

Parts are numbered 24 to an object; STUCK of each 24 is a thing of its own, as a badge on a coat is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from cutouts import OutlinedPhoto, cut_out, load_cutouts, load_outlined
from numpy.typing import NDArray
from parts import choose_parts, photo_regions, placement, regions
from textures import Array, FloatArray, Rng, background, degrade, relief, texture

PHOTO_SIDE = 768  # photographs are kept with their shorter side at most so long
PHOTO_OBJECT_SHARE = 0.25  # of the cut-outs, where there are outlined photographs
REAL_SCENE_SHARE = 0.2
REGION_SCENE_SHARE = 0.05
CAMOUFLAGE_SHARE = 0.2  # of the objects: their mean colour moves towards what is behind them
SOFT_EDGE_SHARE = 0.25
RELIEF_SHARE = 0.25  # of the objects with colours of their own
PARTS, STUCK = 24, 20  # numbers of parts to an object, and which of them is a thing of its own
STUCK_SHARE = 0.2  # of the objects: another one sticks to them
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
        with_parts: whether composites show stuck objects and tell the parts of objects.
    """

    def __init__(
        self,
        emoji: list[Path],
        photo_dirs: list[Path],
        cache: Path,
        outlined: tuple[Path, Path] | None = None,
        with_parts: bool = False,
    ) -> None:
        self.with_parts = with_parts
        self.cutouts: list[Sequence[Array]] = [load_cutouts(source, cache) for source in emoji]
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

    def cutout(self, rng: Rng, size: int) -> tuple[FloatArray, bool]:
        """A random cut-out, [size, size, 4] in 0..255, and whether it is an emoji.

        Emoji of the first set come more often.
        """
        is_emoji = True
        if self.photo_objects and rng.random() < PHOTO_OBJECT_SHARE:
            is_emoji = False
            image = self.photo_objects[rng.integers(len(self.photo_objects))]
        else:
            chosen = self.cutouts[0 if rng.random() < 0.65 else rng.integers(len(self.cutouts))]
            image = np.asarray(chosen[rng.integers(len(chosen))])
        smooth = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=smooth)
        return image.astype(np.float32), is_emoji


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


def square(rng: Rng, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A random square window of a picture [H, W, ...]."""
    side = int(min(shape[:2]) * rng.uniform(0.5, 1.0))
    y, x = rng.integers(shape[0] - side + 1), rng.integers(shape[1] - side + 1)
    return slice(y, y + side), slice(x, x + side)


def shrunk(image: Array, size: int) -> Array:
    """A square picture at `size` pixels a side."""
    smooth = cv2.INTER_AREA if image.shape[0] >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=smooth), np.uint8)


def real_scene(rng: Rng, photo: OutlinedPhoto, size: int) -> tuple[Array, Array]:
    """A square crop of an outlined photograph; an outline within an earlier one is a part."""
    window = square(rng, photo.image.shape)
    masks = [
        cv2.resize(mask[window], (size, size), interpolation=cv2.INTER_NEAREST) > 0
        for mask in photo.masks
    ]
    labels = np.zeros((size, size, 2), np.uint8)
    numbers = [0, 0]
    for mask in sorted(masks, key=lambda mask: -int(mask.sum())):
        if not mask.any():
            continue
        level = int((labels[mask, 0] > 0).mean() > 0.2)
        if level == 1:
            labels[mask, 1] = PARTS * numbers[1] + STUCK
        else:
            labels[mask & (labels[:, :, 0] == 0), 0] = numbers[0] + 1
        numbers[level] = min(numbers[level] + 1, 9)
    return shrunk(photo.image[window], size), labels


def region_scene(rng: Rng, photo: Array, size: int) -> tuple[Array, Array]:
    """A square crop of any photograph, with regions of one colour as parts of no object."""
    image = shrunk(photo[square(rng, photo.shape)], size)
    labels = np.zeros((size, size, 2), np.uint8)
    labels[:, :, 1] = photo_regions(rng, image)
    return image, labels


def random_object(
    rng: Rng, library: Library, size: int, may_stick: bool = True
) -> tuple[FloatArray, FloatArray, Array]:
    """Colours [size, size, 3] in 0..255, alpha [size, size] in 0..1, parts [size, size]."""
    kind = rng.random()
    cutout, is_emoji = library.cutout(rng, size)
    colour, alpha = cutout[:, :, :3], cutout[:, :, 3] / 255
    found = regions(colour, alpha) if library.with_parts and is_emoji and kind < 0.82 else []
    parts = choose_parts(rng, found, alpha) if found else np.zeros((size, size), np.uint8)
    if kind >= 0.6:
        alpha = random_shape(rng, size) if kind > 0.82 else np.clip(alpha * 1.2, 0, 1)
        colour = texture(rng, library.photos, size, wide=rng.random() < 0.5)
        for number in np.unique(parts[parts > 0]):  # the same parts, of other materials
            patch = (parts == number).astype(np.float32)[:, :, None]
            colour = colour + patch * (texture(rng, library.photos, size) - colour)
        for number in range(rng.choice([0, 0, 1, 2, 3])):  # and patches anywhere
            place = placement(rng, size, (0.2, 0.8), 0.375)
            patch = cv2.warpAffine(random_shape(rng, size), place, (size, size))
            colour = colour + patch[:, :, None] * (texture(rng, library.photos, size) - colour)
            parts[patch > 0.5] = 10 + number
        if rng.random() < 0.8:
            colour = colour * relief(rng, alpha)
        colour = np.clip(colour, 0, 255).astype(np.float32)
    elif library.with_parts and rng.random() < RELIEF_SHARE:
        colour = np.clip(colour * relief(rng, alpha), 0, 255)
    if library.with_parts and may_stick and rng.random() < STUCK_SHARE:
        other, cover, _ = random_object(rng, library, size, may_stick=False)
        place = placement(rng, size, (0.2, 0.6), 0.3)
        other = np.dstack([other * cover[:, :, None], cover])
        both = cv2.warpAffine(other, place, (size, size))
        cover = both[:, :, 3] * (alpha if rng.random() < 0.6 else 1)  # a patch, or it juts out
        if (cover * alpha).sum() > 0.2 * cover.sum():
            colour = colour * (1 - both[:, :, 3:]) + both[:, :, :3]
            alpha = np.maximum(alpha, cover)
            parts[cover > 0.5] = STUCK
    parts[alpha < 0.5] = 0
    return colour, alpha, parts


def make_scene(rng: Rng, library: Library, size: int) -> tuple[Array, Array]:
    """One scene: image [size, size, 3] uint8 RGB and labels [size, size, 2] uint8."""
    kind = rng.random()
    if library.outlined and kind < REAL_SCENE_SHARE:
        photo = library.outlined[rng.integers(len(library.outlined))]
        image, labels = real_scene(rng, photo, size)
        if labels.any():
            return degrade(rng, image.astype(np.float32), gently=True), labels
    if library.with_parts and kind > 1 - REGION_SCENE_SHARE:
        image, labels = region_scene(rng, library.photos[rng.integers(len(library.photos))], size)
        if len(np.unique(labels)) > 3:
            return degrade(rng, image.astype(np.float32), gently=True), labels
    return composite(rng, library, size)


def composite(rng: Rng, library: Library, size: int) -> tuple[Array, Array]:
    """One composite: image [size, size, 3] uint8 RGB and labels [size, size, 2] uint8."""
    canvas = background(rng, library.photos, size)
    labels = np.zeros((size, size, 2), np.uint8)
    count = int(rng.integers(1, 9))
    widths = np.exp(rng.uniform(np.log(0.12), np.log(0.9 if count < 5 else 0.6), count)) * size
    if count < 3:
        widths = np.maximum(widths, 0.3 * size)
    for index, width in enumerate(np.sort(widths)[::-1], start=1):
        drawn = 256  # objects are drawn so large, then placed; while training, as large as needed
        if library.with_parts:
            drawn = int(np.clip(1.15 * width, 80, 320))
        colour, alpha, parts = random_object(rng, library, drawn)
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
        if rng.random() < 0.5:
            cast_shadow(rng, canvas, alpha, matrix, width)
        window, moved = seen_window(matrix, drawn, size)
        extent = window[1].stop - window[1].start, window[0].stop - window[0].start
        layer = cv2.warpAffine(colour, moved, extent, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, moved, extent)
        if library.with_parts and rng.random() < CAMOUFLAGE_SHARE:
            apart = cv2.mean(canvas[window])[:3] - np.array(cv2.mean(layer)[:3])
            layer = np.clip(layer + (rng.uniform(0.4, 1) * apart).astype(np.float32), 0, 255)
        if library.with_parts and rng.random() < SOFT_EDGE_SHARE:
            cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.5, 0.004 * size))
        canvas[window] += cover[:, :, None] * (layer - canvas[window])
        parts = cv2.warpAffine(parts, moved, extent, flags=cv2.INTER_NEAREST)
        parts[parts > 0] += PARTS * (index - 1)
        labels[window][cover > 0.5, 0] = index
        labels[window][cover > 0.5, 1] = parts[cover > 0.5]
    return degrade(rng, canvas), labels


def seen_window(
    matrix: NDArray[np.float64], side: int, size: int
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Where the map [2, 3] puts a square of `side` on a frame of `size`, and the map into there."""
    corners = matrix @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    low = np.clip(np.floor(corners.min(1)).astype(int) - 1, 0, size - 1)
    high = np.clip(np.ceil(corners.max(1)).astype(int) + 1, low + 1, size)
    moved = matrix.copy()
    moved[:, 2] -= low
    return (slice(low[1], high[1]), slice(low[0], high[0])), moved


def cast_shadow(
    rng: Rng, canvas: FloatArray, alpha: FloatArray, matrix: NDArray[np.float64], width: float
) -> None:
    """Darken the canvas beside an object, softly."""
    side, margin = 64, 32
    small = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    small = np.pad(small, margin)
    small = cv2.GaussianBlur(small, (0, 0), side * rng.uniform(0.02, 0.12))
    scale = alpha.shape[0] / side
    placed = matrix.copy()
    placed[:, 2] += rng.uniform(-0.15, 0.15, 2) * width - placed[:, :2].sum(1) * margin * scale
    placed[:, :2] *= scale
    window, moved = seen_window(placed, side + 2 * margin, canvas.shape[0])
    extent = window[1].stop - window[1].start, window[0].stop - window[0].start
    blur = cv2.warpAffine(small, moved, extent)
    canvas[window] *= 1 - rng.uniform(0.2, 0.7) * blur[:, :, None]
