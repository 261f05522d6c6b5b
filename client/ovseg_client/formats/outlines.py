"""Outlines of masks along the edges of their pixels.

Coordinates are corners of pixels: pixel (column, row) reaches from (column, row) to (column + 1,
row + 1), so that a mask of the pixel at the top left alone is the square 0 0, 1 0, 1 1, 0 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pycocotools.mask

from ovseg_client.prediction import Rle

Ring = npt.NDArray[np.int64]
"""Corners x, y of a closed outline, [P, 2], P >= 4; the last is joined to the first."""


def rings(rle: Rle) -> list[Ring]:
    """The outlines of a mask: around its parts and around the holes in them.

    Around a part it goes clockwise as seen on the screen (to the right along its top), around a
    hole the other way, so that fillings by the even-odd and by the non-zero rule both give the
    mask. Parts are 4-connected (touching at a corner does not connect), holes 8-connected.
    """
    outlines = _Outlines(rle)
    return [outlines.ring(start) for start in outlines.starts]


def polygons(rle: Rle) -> list[list[int]]:
    """A mask as COCO's `segmentation`: x0, y0, x1, y1, … of each of its parts; [] if it is empty.

    COCO joins polygons and knows no holes. Here a hole belongs to the outline of the part around
    it: a seam without width leads straight down to it, and back.
    """
    outlines = _Outlines(rle)
    parts = [start for start in outlines.starts if outlines.is_top[start]]
    holes = [start for start in outlines.starts if not outlines.is_top[start]]
    # Of several seams from one edge, the last on the way is inserted first.
    for edge, x, hole in sorted(map(outlines.seam, holes), reverse=True):
        outlines.insert_seam(edge, x, hole)
    return [outlines.ring(start).ravel().tolist() for start in parts]


class _Outlines:
    """The edges of a mask as linked lists.

    An edge is as long as it is straight, and is walked with the mask on the right hand. Horizontal
    edges come first, by their rows and then from left to right.
    """

    def __init__(self, rle: Rle) -> None:
        self._left, self._top, width, height = map(int, pycocotools.mask.toBbox(rle))
        whole = pycocotools.mask.decode(rle).astype(np.bool_)
        self._mask = whole[self._top : self._top + height, self._left : self._left + width]
        padded = np.pad(self._mask, 1)
        # The four pixels around each corner of pixels, and the edges that meet there.
        nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
        north, south, west, east = nw != ne, sw != se, nw != sw, ne != se
        saddle = north & south & west & east  # Two pixels of the mask touch at this corner only.
        y, x0 = np.nonzero(east & (~west | saddle))
        _, x1 = np.nonzero(west & (~east | saddle))
        x, y0 = np.nonzero((south & (~north | saddle)).T)
        _, y1 = np.nonzero((north & (~south | saddle)).T)
        self.is_top = se[y, x0]
        """Of horizontal edges: whether the mask is below, and the way goes to the right."""
        is_right = sw[y0, x]
        """Of vertical edges: whether the mask is to the left, and the way goes down."""
        starts_x = np.concatenate([np.where(self.is_top, x0, x1), x])
        starts_y = np.concatenate([y, np.where(is_right, y0, y1)])
        ends_x = np.concatenate([np.where(self.is_top, x1, x0), x])
        ends_y = np.concatenate([y, np.where(is_right, y1, y0)])
        # At a saddle two ways meet, and each turns right, around its pixel: from a right edge to a
        # bottom edge and from a left to a top edge, or from top to right and from bottom to left.
        is_second = np.concatenate([self.is_top, ~is_right])
        begins = 2 * self._key(starts_x, starts_y) + (saddle[starts_y, starts_x] & is_second)
        is_second[: len(y)] = ~self.is_top
        arrives = 2 * self._key(ends_x, ends_y) + (saddle[ends_y, ends_x] & is_second)
        order = np.argsort(begins)
        following = order[np.searchsorted(begins, arrives, sorter=order)]
        self._corners = list(zip(starts_x.tolist(), starts_y.tolist(), strict=True))
        """Where each edge starts."""
        self._following: list[int] = following.tolist()
        """Which edge starts where it ends."""
        self._previous: list[int] = np.argsort(following).tolist()
        self._tops = np.flatnonzero(self.is_top)
        self._top_keys = self._key(x0, y)[self._tops]

    def _key(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Numbers corners by their rows and then from left to right."""
        keys: npt.NDArray[np.int64] = y * (self._mask.shape[1] + 1) + x
        return keys

    @property
    def starts(self) -> list[int]:
        """An edge of each ring: the highest, and of these the one furthest to the left."""
        seen = [False] * len(self._corners)
        starts = []
        for start in range(len(self.is_top)):
            if not seen[start]:
                starts.append(start)
                for edge in self._way(start):
                    seen[edge] = True
        return starts

    def ring(self, start: int) -> Ring:
        """The corners on the way around, from where an edge starts."""
        corners = np.array([self._corners[edge] for edge in self._way(start)], np.int64)
        moved: Ring = corners + np.array([self._left, self._top])
        return moved

    def _way(self, start: int) -> list[int]:
        found = [start]
        while (edge := self._following[found[-1]]) != start:
            found.append(edge)
        return found

    def seam(self, hole: int) -> tuple[int, int, int]:
        """The edge that the seam to a hole starts from, the seam's x, and the hole.

        A hole's first edge goes to the left, with the mask above it. Straight up from its start is
        an edge that goes to the right, of the same part's outline or of another hole in it.
        """
        x, y = self._corners[hole]
        outside = np.flatnonzero(~self._mask[:y, x - 1])
        row = int(outside[-1]) + 1 if len(outside) else 0
        key = self._key(np.array(x - 1), np.array(row))
        nearest = np.searchsorted(self._top_keys, key, side="right") - 1
        return int(self._tops[nearest]), x, hole

    def insert_seam(self, edge: int, x: int, hole: int) -> None:
        """Lead from `edge` down to the start of `hole`, around it, up again and on."""
        _, y = self._corners[edge]
        down, up, back = range(len(self._corners), len(self._corners) + 3)
        self._corners += [(x, y), self._corners[hole], (x, y)]
        self._following += [hole, back, self._following[edge]]
        self._following[edge] = down
        # No seam starts there, for it is a vertical edge.
        self._following[self._previous[hole]] = up
