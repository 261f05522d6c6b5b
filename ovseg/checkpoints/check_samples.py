"""The photographs and prompts of a model's self-check."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovseg.manifest import ModelManifest
from ovseg.settings import EXAMPLE_PHOTO
from ovseg.stages.prompts import BOTTOM_RIGHT, FOREGROUND, PADDING, TOP_LEFT, Prompts

# In parts of the width and the height: objects of the photograph, and what lies between them.
_BOXES = (
    (0.29, 0.02, 0.59, 0.29),
    (0.54, 0.67, 1.0, 1.0),
    (0.25, 0.67, 0.42, 0.83),
    (0.0, 0.0, 0.5, 0.5),
    (0.5, 0.0, 1.0, 0.5),
    (0.0, 0.5, 0.5, 1.0),
    (0.2, 0.2, 0.8, 0.8),
    (0.05, 0.3, 0.45, 0.65),
    (0.6, 0.3, 0.95, 0.65),
    (0.1, 0.05, 0.9, 0.95),
)
_POINTS = ((0.33, 0.75), (0.45, 0.15), (0.75, 0.85), (0.15, 0.3), (0.85, 0.4), (0.5, 0.5))


def photographs() -> Iterator[NDArray[np.uint8]]:
    """uint8 [H, W, 3], RGB: the bundled one, and a view of it, cut and turned, with padding."""
    with Image.open(EXAMPLE_PHOTO) as image:
        photo = np.asarray(image.convert("RGB"))
    yield photo
    height, width = photo.shape[:2]
    yield np.ascontiguousarray(np.rot90(photo[height // 4 :, : width - width // 8])[:, ::-1])


def prompts_on(photo: NDArray[np.uint8], manifest: ModelManifest) -> Prompts:
    """Boxes and points on a photograph, as many as the model takes, in its input frame."""
    height, width, _ = photo.shape
    rows: list[tuple[list[tuple[float, float]], tuple[int, int]]] = []
    if "box" in manifest.prompt_kinds:
        for x0, y0, x1, y1 in _BOXES:
            corners = [(x0 * width, y0 * height), (x1 * width, y1 * height)]
            rows.append((corners, (TOP_LEFT, BOTTOM_RIGHT)))
    if "point" in manifest.prompt_kinds:
        # The whole of a fused program runs for each point: one must do.
        for x, y in _POINTS[: 1 if manifest.kind == "fused" else None]:
            rows.append(([(x * width, y * height), (0, 0)], (FOREGROUND, PADDING)))
    coords = np.array([points for points, _ in rows], np.float32)
    labels = np.array([labels for _, labels in rows], np.int32)
    return Prompts(coords, labels).scaled((height, width), manifest.input_size)
