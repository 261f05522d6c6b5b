"""Whether masks change when image embeddings are kept in float16, in which twice as many fit.

    python loadtest/half_embeddings.py models/sam_mini PHOTO [PHOTO ...]

Random boxes on each photo, decoded from the embedding as it is and rounded to float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ovseg.manifest import ModelManifest
from ovseg.settings import Settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.masks import decode_rle, low_res_masks_to_rle
from ovseg.stages.prompt_decoder import load_prompt_decoder
from ovseg.stages.prompts import BOTTOM_RIGHT, TOP_LEFT, Prompts

BOXES_PER_PHOTO = 48


def random_boxes(random: np.random.Generator, input_size: tuple[int, int]) -> Prompts:
    """Boxes of a tenth to a third of the image's sides, in the model's input frame."""
    height, width = input_size
    corners = random.uniform(0, 0.66, (BOXES_PER_PHOTO, 1, 2))
    sides = random.uniform(0.1, 0.33, (BOXES_PER_PHOTO, 1, 2))
    coords = np.concatenate([corners, corners + sides], axis=1) * (width, height)
    labels = np.tile(np.array([[TOP_LEFT, BOTTOM_RIGHT]], np.int32), (BOXES_PER_PHOTO, 1))
    return Prompts(coords.astype(np.float32), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model's folder")
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    options = parser.parse_args()

    settings = Settings(model=options.model.name, model_dir=options.model.parent)
    side = ModelManifest.load(options.model).input_size
    encoder, decoder = load_image_encoder(settings), load_prompt_decoder(settings)
    random = np.random.default_rng(0)
    same, ious = 0, []
    for photo in options.photos:
        image = decode_image(photo.read_bytes(), settings.max_image_pixels)
        size = (image.shape[0], image.shape[1])
        pixels, input_size = resize_longest_side(image, side)
        embedding = encoder.encode(pixels[None], np.array([input_size], np.int32))
        boxes = random_boxes(random, input_size)
        exact, rounded = (
            low_res_masks_to_rle(decoder.decode(kept, boxes, None, multimask=False)[0], side, size)
            for kept in (embedding, embedding.astype(np.float16).astype(np.float32))
        )
        same += int((exact == rounded).sum())
        for counts, others in zip(exact.flat, rounded.flat, strict=True):
            mask, other = decode_rle(counts, size), decode_rle(others, size)
            if (mask | other).any():
                ious.append((mask & other).sum() / (mask | other).sum())
    print(
        f"{same} of {BOXES_PER_PHOTO * len(options.photos)} masks are the same; "
        f"IoU {np.mean(ious):.5f} mean, {np.min(ious):.5f} lowest"
    )


if __name__ == "__main__":
    main()
