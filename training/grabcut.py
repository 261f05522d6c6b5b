"""The baseline without learning: OpenCV's GrabCut on the photographs' objects, from tight boxes."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from photo_objects import Image, load_photographs

SIDE = 512  # the longest side GrabCut sees, as the small model does
ITERATIONS = 5


def grabcut_mask(image: Image, box: tuple[int, int, int, int]) -> Image:
    """GrabCut's foreground, given that everything outside the box is background.

    Args:
        image: uint8 RGB [height, width, 3]; shrunk to a longest side of 512 if it is larger.
        box: (x0, y0, x1, y1), first and last column and row, in pixels of the image.

    Returns:
        The mask, uint8 [height, width], 1 on the object.
    """
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x0, y0 = round(box[0] * scale), round(box[1] * scale)
    x1, y1 = round((box[2] + 1) * scale), round((box[3] + 1) * scale)
    labels = np.zeros(small.shape[:2], np.uint8)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)  # the colours are first clustered from random centres
    rectangle = (x0, y0, max(1, x1 - x0), max(1, y1 - y0))
    small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    cv2.grabCut(small, labels, rectangle, models[0], models[1], ITERATIONS, cv2.GC_INIT_WITH_RECT)
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    full = cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(full, np.uint8)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of pictures")
    scores = []
    print("| photograph | object | pixels | IoU |\n| --- | --- | --- | --- |")
    for photograph in load_photographs(parser.parse_args().photos):
        for item in photograph.objects:
            truth = item.mask() > 0
            guess = grabcut_mask(photograph.image, item.box) > 0
            scores.append(float((guess & truth).sum() / (guess | truth).sum()))
            size = f"{truth.sum():,}"
            print(f"| {photograph.name} | {item.name} | {size} | {scores[-1]:.3f} |", flush=True)
    good = np.mean(np.array(scores) > 0.7)
    print(f"mean {np.mean(scores):.3f}, median {np.median(scores):.3f}, above 0.7: {good:.0%}")


if __name__ == "__main__":
    main()
