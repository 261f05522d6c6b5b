"""The evaluation photographs and the masks of the objects outlined on them.

The outlines are data, `photographs/objects.json`; the pictures are not in this repository
(`get_photographs.py` fetches them). Coordinates are pixels of the whole picture, x to the right and
y down; whole numbers are the centres of pixels.
"""

from __future__ import annotations

import bz2
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Ring = Sequence[Sequence[float]]
OBJECTS = Path(__file__).parent / "photographs" / "objects.json"


@dataclass(frozen=True)
class PhotoObject:
    """An outlined object.

    Attributes:
        name: unique within its photograph.
        point: (x, y), a click on the object.
        rings: closed polygons of (x, y), filled by the even-odd rule, so that rings inside others
            are holes and rings beside them further parts.
        size: (height, width) of the photograph.
    """

    name: str
    point: tuple[int, int]
    rings: tuple[tuple[tuple[int, int], ...], ...]
    size: tuple[int, int]

    def mask(self) -> Image:
        """Its pixels, uint8 [height, width], 1 on the object; pixels that a ring touches count."""
        return filled(self.rings, self.size)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of the first and last columns and rows that hold pixels of the mask."""
        mask = self.mask()
        xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        return int(xs[0]), int(ys[0]), int(xs[-1]), int(ys[-1])


@dataclass(frozen=True)
class Photograph:
    """A photograph, uint8 RGB [height, width, 3], and its outlined objects."""

    name: str
    image: Image
    objects: tuple[PhotoObject, ...]


def filled(rings: Iterable[Ring], size: tuple[int, int]) -> Image:
    """The pixels of rings under the even-odd rule, uint8 [height, width], 1 inside.

    Vertices between pixels count as at the nearest one.
    """
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(np.array(ring)).astype(np.int32) for ring in rings], 1)
    return mask


def read_entries() -> list[dict[str, Any]]:
    """The photographs of `objects.json` as they stand there."""
    entries: list[dict[str, Any]] = json.loads(OBJECTS.read_text())["photographs"]
    return entries


def has_sha256(path: Path, sha256: str) -> bool:
    """Whether there is a file of that SHA-256 (hexadecimal)."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def load_photographs(folders: list[Path]) -> list[Photograph]:
    """Every photograph of `objects.json`, in its order, from the files in `folders`.

    A picture is the file that has its name and its SHA-256; the folders are not searched deeper.

    Raises:
        FileNotFoundError: pictures are missing; the message names them and their packages.
    """
    photographs, missing = [], []
    for entry in read_entries():
        candidates = (folder / Path(entry["file"]).name for folder in folders)
        path = next((p for p in candidates if has_sha256(p, entry["sha256"])), None)
        if path is None:
            package = f"{entry['package']}=={entry['version']}"
            missing.append(f"{Path(entry['file']).name} (of {package})")
            continue
        size = (int(entry["height"]), int(entry["width"]))
        objects = tuple(_read_object(item, size) for item in entry["objects"])
        photographs.append(Photograph(entry["name"], _read_image(path, size), objects))
    if missing:
        searched = ", ".join(map(str, folders)) or "no folder"
        raise FileNotFoundError(
            f"not found in {searched}: {', '.join(missing)}. "
            "`python get_photographs.py FOLDER` fetches them all"
        )
    return photographs


def _read_object(item: dict[str, Any], size: tuple[int, int]) -> PhotoObject:
    rings = tuple(tuple((int(x), int(y)) for x, y in ring) for ring in item["rings"])
    x, y = item["point"]
    return PhotoObject(item["name"], (int(x), int(y)), rings, size)


def _read_image(path: Path, size: tuple[int, int]) -> Image:
    """The picture, uint8 RGB [height, width, 3]; SciPy's .dat is bzip2 of its bare pixels."""
    if path.suffix == ".dat":
        pixels = np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8)
        return pixels.reshape(*size, 3).copy()
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != size:
        raise ValueError(f"{path} does not decode to {size[1]} x {size[0]} pixels")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
