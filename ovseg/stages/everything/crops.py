"""Where the points lie: grids, and the parts of an image that have one of their own.

segment_anything/utils/amg.py: `build_point_grid`, `generate_crop_boxes`, `is_box_near_crop_edge`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

EDGE_PIXELS = 20
"""A mask that comes so near to the edge of a crop is probably cut off there."""


@dataclass(frozen=True)
class Crop:
    """A part of an image, in its pixels; right and bottom are the first that are outside.

    Attributes:
        layer: 0 for the whole image.
    """

    left: int
    top: int
    right: int
    bottom: int
    layer: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1."""
        return self.left, self.top, self.right, self.bottom

    def cuts(self, box: NDArray[np.int32], image_size: tuple[int, int]) -> bool:
        """Whether an edge of this crop, and not of the image, probably cuts off what is in a box.

        Args:
            box: [4], x0 y0 x1 y1 in pixels of the image.
            image_size: (height, width).
        """
        height, width = image_size
        near_crop = np.abs(box - np.array(self.box)) <= EDGE_PIXELS
        near_image = np.abs(box - np.array([0, 0, width, height])) <= EDGE_PIXELS
        return bool((near_crop & ~near_image).any())


def point_grid(points_per_side: int) -> NDArray[np.float64]:
    """Points in the middle of equal fields, row by row: [n * n, 2], x and y from 0 to 1."""
    middles = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def crops_of(image_size: tuple[int, int], n_layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole image, then layer after layer of overlapping crops, column by column.

    Args:
        image_size: (height, width).
        n_layers: layer i has 2^i x 2^i crops.
        overlap_ratio: of the crops of layer 1, as a share of the shorter side; half of it in the
            next layer, and so on.
    """
    height, width = image_size
    crops = [Crop(0, 0, width, height)]
    for layer in range(1, n_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(image_size) * (2 / per_side))
        crop_width, crop_height = (
            math.ceil((overlap * (per_side - 1) + length) / per_side) for length in (width, height)
        )
        for i, j in product(range(per_side), repeat=2):
            left, top = i * (crop_width - overlap), j * (crop_height - overlap)
            right, bottom = min(left + crop_width, width), min(top + crop_height, height)
            if left < right and top < bottom:  # Of a tiny image nothing may be left.
                crops.append(Crop(left, top, right, bottom, layer))
    return crops
