"""The gallery of the README: six photographs that training never saw, with the masks of a model."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import Array
from evaluate import Predictor, draw, load_exported
from photo_objects import Photograph, load_photographs

WIDTH, HEIGHT = 480, 360
# photograph -> objects given by a box, objects given by a click
GALLERY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "astronaut": (("head", "helmet"), ("mission patch",)),
    "coffee": (("cup, saucer and spoon",), ()),
    "flower": ((), ("flower", "lower flower")),
    "china": (("pagoda",), ()),
    "hopper": (("name tag",), ("ribbons",)),
    "chelsea": (("left eye", "right eye"), ()),
}
TOP_SHARE = {"hopper": 1.0}  # of what is cut off, above; else half of it


def panel(predictor: Predictor, photo: Photograph) -> Array:
    """The photograph with its masks, [360, 480, 3], cropped to that shape."""
    boxes, clicks = GALLERY[photo.name]
    image = photo.image
    for names, kind in ((boxes, "box"), (clicks, "click")):
        objects = tuple(item for item in photo.objects if item.name in names)
        image = draw(predictor, image, objects, kind)
    scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    y = int((image.shape[0] - HEIGHT) * TOP_SHARE.get(photo.name, 0.5))
    x = (image.shape[1] - WIDTH) // 2
    return np.asarray(image[y : y + HEIGHT, x : x + WIDTH], np.uint8)


def main() -> None:
    """Read the arguments, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=Path("../weights/sam_mini.safetensors"))
    parser.add_argument("--photographs", type=Path, required=True, help="see get_photographs.py")
    parser.add_argument("--out", type=Path, default=Path("../docs/images/gallery.jpg"))
    args = parser.parse_args()
    model = load_exported(args.weights)
    photographs = {photo.name: photo for photo in load_photographs([args.photographs])}
    with torch.inference_mode():
        panels = [
            panel(Predictor(model, photographs[name].image), photographs[name]) for name in GALLERY
        ]
    sheet = np.vstack([np.hstack(panels[:3]), np.hstack(panels[3:])])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [1, 88])


if __name__ == "__main__":
    main()
