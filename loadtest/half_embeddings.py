"""Whether masks change when image embeddings are kept in float16, in which twice as many fit.

    python loadtest/half_embeddings.py models/sam_mini PHOTO [PHOTO ...]

Random boxes on each photo, decoded from the embedding as it is and rounded to float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg.engines.choosing import open_engine
from ovseg.manifest import ModelManifest
from ovseg.settings import Settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.masks import decode_rle, low_res_masks_to_rle
from ovseg.stages.prompt_decoder import SamPromptDecoder
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
    manifest = ModelManifest.load(options.model)
    encoder = load_image_encoder(settings)
    decoder = SamPromptDecoder(
        *(
            open_engine(options.model / name, settings, manifest)
            for name in ("prompt_decoder", "mask_encoder")
        )
    )
    random = np.random.default_rng(0)
    same, ious = 0, []
    for photo in options.photos:
        image = decode_image(photo.read_bytes(), settings.max_image_pixels)
        size = (image.shape[0], image.shape[1])
        pixels, input_size = resize_longest_side(image, manifest.input_size)
        embedding = encoder.encode(pixels[None], np.array([input_size], np.int32))
        boxes = random_boxes(random, input_size)

        def counts(
            embedding: NDArray[np.float32],
            boxes: Prompts = boxes,
            size: tuple[int, int] = size,
        ) -> list[bytes]:
            low_res_masks, _ = decoder.decode(embedding, boxes, None, multimask=False)
            rle: list[bytes] = low_res_masks_to_rle(low_res_masks, manifest.input_size, size)[
                :, 0
            ].tolist()
            return rle

        halved = embedding.astype(np.float16).astype(np.float32)
        for exact, rounded in zip(counts(embedding), counts(halved), strict=True):
            same += exact == rounded
            mask, other = decode_rle(exact, size), decode_rle(rounded, size)
            if (mask | other).any():
                ious.append((mask & other).sum() / (mask | other).sum())
    print(
        f"{same} of {BOXES_PER_PHOTO * len(options.photos)} masks are the same; "
        f"IoU {np.mean(ious):.5f} mean, {np.min(ious):.5f} lowest"
    )


if __name__ == "__main__":
    main()
