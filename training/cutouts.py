"""Cut-out objects: renderings of emoji, and objects outlined by hand on photographs.

A set of cut-outs is uint8 [N, S, S, 4] RGBA: for training read from a zip that `pack.py` wrote, for
evaluation drawn once from an Iconify package and kept in a memory-mapped file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from photo_objects import filled

Array = NDArray[np.uint8]

CUTOUT_SIZE = 256
LEAST_COVER = 0.03  # of the square; icons of thin lines cover less
SKIN_TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
ICONIFY_VARIATIONS = ("-light", "-dark", "-medium", "flag-", "keycap")  # near copies, and squares


def load_cutouts(source: Path, cache: Path) -> Sequence[Array]:
    """The cut-outs of one emoji set: a zip of WebP pictures, or an Iconify `icons.json`."""
    if source.suffix == ".zip":
        return read_zip(source)
    target = cache / f"cutouts_{source.parent.parent.name}_{CUTOUT_SIZE}.npy"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(target, np.stack([_fitted(image) for image in iconify(source)]))
    return np.load(target, mmap_mode="r")


def read_zip(path: Path) -> list[Array]:
    """Every picture of a zip, RGBA."""
    with zipfile.ZipFile(path) as archive:
        files = [archive.read(name) for name in archive.namelist()]

    def decode(data: bytes) -> Array:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)

    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(decode, files))


def _fitted(image: Array) -> Array:
    """RGBA [h, w, 4] -> [256, 256, 4]."""
    shrinks = image.shape[0] > CUTOUT_SIZE
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (CUTOUT_SIZE, CUTOUT_SIZE), interpolation=mode)


def renderings(folder: Path) -> Iterator[Array]:
    """The rendered emoji of a folder, RGBA; of each in several skin tones, the tones b and d."""
    for path in sorted(folder.glob("*.webp")):
        tones = sum(t in path.stem for t in SKIN_TONES)
        if tones and path.stem[-1] not in "bd":
            continue
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3 and image.shape[2] == 4:
            yield cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


def iconify(path: Path) -> Iterator[Array]:
    """The vector emoji of an Iconify `icons.json`, drawn at 256 pixels, RGBA."""
    import resvg_py

    data = json.loads(path.read_text())
    for name, icon in sorted(data["icons"].items()):
        if icon.get("hidden") or any(part in name for part in ICONIFY_VARIATIONS):
            continue
        width = icon.get("width", data.get("width", 16))
        height = icon.get("height", data.get("height", 16))
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        png = bytes(resvg_py.svg_to_bytes(svg_string=f"{svg}{icon['body']}</svg>", width=256))
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4:
            continue
        if (image[:, :, 3] > 127).mean() > LEAST_COVER:
            yield cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


@dataclass
class OutlinedPhoto:
    """A photograph uint8 [H, W, 3] RGB and the masks uint8 [H, W], 0 or 1, of its objects."""

    image: Array
    masks: list[Array]


def load_outlined(outlines: Path, pictures: Path) -> list[OutlinedPhoto]:
    """Photographs whose objects were outlined by hand (`outlines/objects.json`)."""
    photos = []
    for entry in json.loads(outlines.read_text())["photographs"]:
        image = cv2.imread(str(pictures / f"{entry['name']}.jpg"), cv2.IMREAD_COLOR)
        if image is None:
            continue
        masks = [filled(item["rings"], image.shape[:2]) for item in entry["objects"]]
        photos.append(OutlinedPhoto(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), masks))
    return photos


def cut_out(photo: OutlinedPhoto) -> Iterator[Array]:
    """Each object of a photograph as a cut-out [256, 256, 4] with a soft edge."""
    for mask in photo.masks:
        ys, xs = np.nonzero(mask)
        if len(xs) < 400:
            continue
        y, x, h, w = ys.min(), xs.min(), np.ptp(ys) + 1, np.ptp(xs) + 1
        side = int(max(h, w) * 1.05) + 2
        canvas = np.zeros((side, side, 4), np.uint8)
        top, left = (side - h) // 2, (side - w) // 2
        canvas[top : top + h, left : left + w, :3] = photo.image[y : y + h, x : x + w]
        canvas[top : top + h, left : left + w, 3] = 255 * mask[y : y + h, x : x + w]
        out = cv2.resize(canvas, (CUTOUT_SIZE, CUTOUT_SIZE), interpolation=cv2.INTER_AREA)
        out[:, :, 3] = cv2.erode(out[:, :, 3], np.ones((3, 3), np.uint8))
        yield out
