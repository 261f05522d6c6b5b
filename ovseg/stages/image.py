"""Image file -> pixels, and SAM's resize.

Coordinates: x to the right, y down, in pixels of the EXIF-oriented image. Sizes are
(height, width). Source of the resize: segment_anything/utils/transforms.py (ResizeLongestSide)
and PaddleX's SAMProcessor, which both use Pillow's bilinear filter (it averages when it shrinks).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ovseg.stages.errors import InvalidInputError

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")

# Pillow's own bomb guard would warn at this size and raise at twice of it; ours is a setting and
# refuses before decoding, so the guard is switched off here and nowhere else decides.
Image.MAX_IMAGE_PIXELS = None


def decode_image(file: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image file into RGB pixels, EXIF orientation applied.

    Alpha is dropped (not blended) as OpenCV's IMREAD_COLOR and so PaddleX do; 16-bit grey keeps
    its high byte; of an animation the first frame is used.

    Args:
        file: an encoded image (JPEG, PNG, WebP, BMP, TIFF, GIF, PPM).
        max_pixels: largest width x height; compared with the header before anything is decoded.

    Returns:
        uint8 [H, W, 3], RGB, 0-255.

    Raises:
        InvalidInputError: field `image`; not an image, too large, truncated, or damaged.
    """
    if not file:
        raise InvalidInputError("image", "the image file is empty")
    try:
        image = Image.open(io.BytesIO(file), formats=ALLOWED_FORMATS)
    except UnidentifiedImageError:
        raise InvalidInputError(
            "image", f"not an image in a supported format ({', '.join(ALLOWED_FORMATS)})"
        ) from None
    except Exception as error:  # Pillow's parsers raise whatever their arithmetic raises.
        raise InvalidInputError("image", f"cannot read the image's header: {error}") from None

    width, height = image.size
    if width * height > max_pixels:
        raise InvalidInputError(
            "image", f"{width}x{height} is over the limit of {max_pixels} pixels"
        )
    try:
        image.load()
        return np.ascontiguousarray(np.asarray(_to_rgb(ImageOps.exif_transpose(image))))
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError("image", f"damaged or truncated image: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's convert() would clip 16-bit grey at 255 instead of scaling it.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise InvalidInputError("image", f"32-bit grey (mode {image.mode}) is not supported")
    return image if image.mode == "RGB" else image.convert("RGB")


def input_size_of(original_size: tuple[int, int], side: int) -> tuple[int, int]:
    """Size of an image after SAM's resize: its longest side becomes `side`.

    Args:
        original_size: (height, width) in pixels.
        side: the model's input size in pixels, 1024 for SAM.

    Returns:
        (height, width), each rounded half up and at least 1.
    """
    height, width = original_size
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_longest_side(
    pixels: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """SAM's resize, then padding at the right and bottom to a square.

    Args:
        pixels: uint8 [H, W, 3].
        side: the model's input size.

    Returns:
        uint8 [side, side, 3] (padding is 0; the encoder makes it zero *after* normalising), and
        the (height, width) of the valid part.
    """
    height, width = input_size_of((pixels.shape[0], pixels.shape[1]), side)
    padded = np.zeros((side, side, 3), np.uint8)
    if (height, width) == pixels.shape[:2]:
        padded[:height, :width] = pixels
    else:
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        padded[:height, :width] = np.asarray(resized)
    return padded, (height, width)
