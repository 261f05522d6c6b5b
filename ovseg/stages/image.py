"""Image file -> pixels, and SAM's resize.

Coordinates: x to the right, y down, in pixels of the EXIF-oriented image. Sizes are
(height, width). Source of the resize: segment_anything/utils/transforms.py (ResizeLongestSide)
and PaddleX's SAMProcessor, which both use Pillow's bilinear filter (it averages when it shrinks).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image_formats import IMAGE_FORMATS
from ovseg.stages.image_guards import ends_early, refusal_of_header

MAX_SIDE = 65_535
"""The largest that JPEG has; stages after the encoder work row by row and column by column."""

# Pillow's own bomb guard would warn at this size and raise at twice of it; ours is a setting and
# refuses before decoding, so the guard is switched off here and nowhere else decides.
Image.MAX_IMAGE_PIXELS = None
# Python remembers each different warning for ever, and hostile files can word them as they like.
warnings.filterwarnings("ignore", module=r"PIL\.")

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(
    file: bytes,
    max_pixels: int,
    max_side: int = MAX_SIDE,
    formats: Sequence[str] = IMAGE_FORMATS,
) -> NDArray[np.uint8]:
    """Decode an image file into RGB pixels, EXIF orientation applied.

    Alpha is dropped (not blended) as OpenCV's IMREAD_COLOR and so PaddleX do; 16-bit samples keep
    their high byte; of an animation or of several pages the first is used, and the others are not
    looked at.

    Args:
        file: an encoded image.
        max_pixels: largest width x height; compared with the header before anything is decoded.
        max_side: largest width and height; the same.
        formats: which of `IMAGE_FORMATS` are accepted.

    Returns:
        uint8 [H, W, 3], RGB, 0-255.

    Raises:
        InvalidInputError: field `image`; not an image, too large, or damaged: a file that holds
            less than its whole picture is refused.
    """
    if not file:
        raise InvalidInputError("image", "the image file is empty")
    try:
        image = Image.open(io.BytesIO(file), formats=tuple(formats))
    except UnidentifiedImageError:
        raise InvalidInputError(
            "image", f"not an image in a supported format ({', '.join(formats)})"
        ) from None
    except Exception as error:  # Pillow's parsers raise whatever their arithmetic raises.
        raise InvalidInputError("image", f"cannot read the image's header: {error}") from None

    with image:
        _check_size(image, max_pixels, max_side)
        try:
            if refusal := refusal_of_header(image, file, max_pixels):
                raise InvalidInputError("image", refusal)
            image.load()
            if ends_early(image, file):
                raise InvalidInputError("image", "truncated image: a part of it is missing")
            return np.ascontiguousarray(np.asarray(_to_rgb(_turned_upright(image))))
        except InvalidInputError:
            raise
        except Exception as error:
            raise InvalidInputError("image", f"damaged or truncated image: {error}") from None


def _check_size(image: Image.Image, max_pixels: int, max_side: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidInputError("image", f"{width}x{height} is no picture")
    if width * height > max_pixels:
        raise InvalidInputError(
            "image", f"{width}x{height} is over the limit of {max_pixels} pixels"
        )
    if max(width, height) > max_side:
        raise InvalidInputError(
            "image", f"{width}x{height} is over the limit of {max_side} pixels a side"
        )


def _turned_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        method = _TRANSPOSES.get(orientation) if isinstance(orientation, int) else None
    except Exception:  # An EXIF block that nobody can read turns nothing; OpenCV has it so too.
        method = None
    return image if method is None else image.transpose(method)


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
