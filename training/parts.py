"""Parts of objects: regions that an outline or an edge of colour encloses inside a cut-out.

People ask for a helmet, a patch or a face as well as for the whole. A map of parts is uint8
[S, S]: 0 is no part, k is the k-th part of an object.
"""

from __future__ import annotations

import cv2
import numpy as np
from textures import Array, FloatArray, Rng

EDGE = 2.2  # change of a colour a pixel, CIE Lab, at 256 pixels a side; shading changes less
LEAST_SHARE, MOST_SHARE = 0.02, 0.7  # of the object
LEAST_THICKNESS = 0.012  # of the side: half the width of a part at its thickest
MOST_PARTS = 4
FILLED_SHARE = 0.75  # how often a part takes in what it surrounds, as a face does its eyes


def regions(colour: FloatArray, alpha: FloatArray, least: float = LEAST_SHARE) -> list[Array]:
    """Connected regions without an edge inside: masks [S, S], 0 or 1, that do not overlap.

    Args:
        colour: [S, S, 3] RGB in 0..255.
        alpha: [S, S] in 0..1.
        least: smallest share of the object.
    """
    size = alpha.shape[0]
    solid = (alpha > 0.5).astype(np.uint8)
    lab = cv2.cvtColor(cv2.GaussianBlur(colour / 255, (0, 0), size / 256), cv2.COLOR_RGB2LAB)
    slopes = [cv2.Sobel(lab, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    change = np.sqrt(np.square(slopes[0]) + np.square(slopes[1])).max(2)
    calm = ((change * size / 256 < EDGE) & (alpha > 0.9)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(calm, connectivity=4)
    shares = stats[:, cv2.CC_STAT_AREA] / max(1, int(solid.sum()))
    kept = [k for k in range(1, count) if shares[k] > least / 2]
    if not kept:
        return []
    seeds = np.isin(labels, kept)
    # every pixel near a seed belongs to the nearest one: the border runs along the edge
    distance, nearest = cv2.distanceTransformWithLabels(
        (~seeds).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[seeds]] = labels[seeds]
    grown = owner[nearest] * ((distance < 0.025 * size) & (solid > 0))
    return [(grown == k).astype(np.uint8) for k in kept]


def photo_regions(rng: Rng, image: Array) -> Array:
    """A map [S, S] of regions of one colour in a photograph, each a fifth of a per cent or more."""
    size = image.shape[0]
    labels = np.zeros((size, size), np.uint8)
    found = regions(image.astype(np.float32), np.ones((size, size), np.float32), 0.004)
    kept = []
    for index in rng.permutation(len(found)):
        mask = filled(found[index]) if rng.random() < FILLED_SHARE else found[index]
        thickness = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3).max()
        if mask.mean() < 0.4 and thickness > LEAST_THICKNESS * size:
            kept.append(mask)
    for number, mask in enumerate(sorted(kept[:9], key=lambda mask: -int(mask.sum()))):
        labels[mask > 0] = 24 * number + 1
    return labels


def filled(mask: Array) -> Array:
    """The mask [S, S] with its holes."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED)


def choose_parts(rng: Rng, found: list[Array], alpha: FloatArray) -> Array:
    """At most four of the regions as a map [S, S]; where they overlap, the smaller one is seen."""
    size = alpha.shape[0]
    solid = (alpha > 0.5).astype(np.uint8)
    whole = max(1, int(solid.sum()))
    masks = []
    for index in rng.permutation(len(found)):
        mask = found[index]
        closed = filled(mask) & solid
        if rng.random() < FILLED_SHARE and closed.sum() < MOST_SHARE * whole:
            mask = closed
        thickness = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3).max()
        share = mask.sum() / whole
        if LEAST_SHARE < share < MOST_SHARE and thickness > LEAST_THICKNESS * size:
            masks.append(mask)
    parts = np.zeros((size, size), np.uint8)
    chosen = sorted(masks[:MOST_PARTS], key=lambda mask: -int(mask.sum()))
    for number, mask in enumerate(chosen, start=1):
        hidden = parts[mask > 0]
        for other in np.unique(hidden[hidden > 0]):  # asked for is what is seen: all or nothing
            if (hidden == other).sum() > 0.25 * (parts == other).sum():
                parts[parts == other] = 0
        if rng.random() < 0.5 or not hidden.any():
            parts[mask > 0] = number
    return parts


def placement(rng: Rng, size: int, scales: tuple[float, float], reach: float) -> FloatArray:
    """An affine map [2, 3] that turns, scales and moves by up to `reach` of the side `size`."""
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), rng.uniform(0, 360), rng.uniform(*scales)
    )
    matrix[:, 2] += rng.uniform(-reach, reach, 2) * size
    return matrix
