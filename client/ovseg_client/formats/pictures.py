"""Masks as pictures, which `.save("name.png")` writes."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags

from ovseg_client.images import Image, fetch, is_url, read_image
from ovseg_client.prediction import Prediction

_FETCH_TIMEOUT_S = 30.0
_INDEXED_LABELS = 255
_MOST_LABELS = 65_535
_TO_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


def mask_images(prediction: Prediction) -> list[PIL.Image.Image]:
    """The masks of N prompts as grey pictures [N]: 255 on the mask, 0 off it."""
    return [PIL.Image.fromarray(mask.astype(np.uint8) * 255) for mask in prediction.chosen.masks]


def label_map(prediction: Prediction) -> PIL.Image.Image:
    """All masks in one picture: pixels are k on the mask of the k-th prompt from 1, and else 0.

    Where masks overlap, a pixel belongs to the smallest of them, so that small objects stay
    visible on large ones; this loses what is below. Up to 255 masks give an indexed picture (mode
    P) with a colour for each, more a 16-bit grey one.

    Raises:
        ValueError: more than 65535 masks.
    """
    found = prediction.chosen
    count = len(found.scores)
    if count > _MOST_LABELS:
        raise ValueError(f"a label map has at most {_MOST_LABELS} masks, not {count}")
    labels = np.zeros(found.size, np.uint8 if count <= _INDEXED_LABELS else np.uint16)
    for k in np.argsort(-found.areas, kind="stable"):
        labels[found.masks[k]] = k + 1
    picture = PIL.Image.fromarray(labels)
    if count <= _INDEXED_LABELS:
        picture.putpalette(_palette())
    return picture


def cutouts(prediction: Prediction, image: Image) -> list[PIL.Image.Image]:
    """What each of N masks shows, as pictures [N] with alpha (mode RGBA) of the size of its box.

    Alpha is 255 on the mask and 0 off it, where the colour is black. An empty mask gives one
    transparent pixel.

    Args:
        prediction: the masks.
        image: the image that they were found in, as for `Client.predict`; a URL is fetched again.

    Raises:
        ValueError: it is another image, by its size, or its file cannot be read here.
        OSError, TypeError: as for `Client.predict`.
        ConnectionFailedError: the URL cannot be fetched.
    """
    pixels = _read_pixels(image)
    if pixels.shape[:2] != prediction.size and len(prediction.scores):
        raise ValueError(
            f"the image is {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"its masks are {prediction.size[1]} x {prediction.size[0]}"
        )
    found = prediction.chosen
    pictures = []
    for mask, (left, top, width, height) in zip(found.masks, found.boxes.tolist(), strict=True):
        area = np.s_[top : top + max(height, 1), left : left + max(width, 1)]
        alpha = mask[area][..., None]
        pictures.append(
            PIL.Image.fromarray(
                np.concatenate([pixels[area] * alpha, alpha.astype(np.uint8) * 255], axis=2)
            )
        )
    return pictures


def _read_pixels(image: Image) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3], RGB, as the service reads it: EXIF orientation applied, alpha dropped."""
    file = fetch(image, _FETCH_TIMEOUT_S) if is_url(image) else read_image(image)
    try:
        with PIL.Image.open(io.BytesIO(file)) as opened:
            picture = _turned_upright(opened)
            if picture.mode.startswith("I;16"):  # Pillow would clip at 255 instead of scaling.
                picture = PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            return np.asarray(picture.convert("RGB"))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"the image cannot be read: {error}") from None


def _turned_upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Not Pillow's `exif_transpose`, which fails at files that are odd in other tags only."""
    try:
        method = _TO_UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # An EXIF block that nobody can read turns nothing, as in the service.
        return picture
    return picture if method is None else picture.transpose(method)


def _palette() -> list[int]:
    """R, G, B of PASCAL VOC's 256 colours: bits 3 i + c of the index are channel c's highest."""
    return [
        sum((index >> (3 * i + channel) & 1) << (7 - i) for i in range(3))
        for index in range(256)
        for channel in range(3)
    ]
