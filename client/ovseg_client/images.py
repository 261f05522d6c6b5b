"""What callers pass as `image`, made into an image file's bytes or a URL."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import httpx
import numpy as np
import numpy.typing as npt

from ovseg_client.errors import ConnectionFailedError

Image = str | os.PathLike[str] | bytes | bytearray | npt.NDArray[np.uint8]
"""A path, an http(s) URL, an image file's bytes, or uint8 pixels [H, W, 3] (RGB) or [H, W]."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {1: 0, 3: 2}
"""PNG's colour type for a number of channels: grey, RGB (ISO/IEC 15948, table 11.1)."""


@dataclass(eq=False)
class LoadedImage:
    """An image that was read and encoded once, for any number of requests."""

    url: str | None = None
    """Where it is; None for what the caller has."""
    file: bytes | None = None
    """The image file; None for a URL that the client did not fetch (yet)."""
    image_id: str | None = None
    """What the service calls it; None while that is not known."""


def load_image(image: Image) -> LoadedImage:
    """Read an image; a URL is only noted.

    Raises:
        OSError, TypeError, ValueError: see `read_image`.
    """
    return LoadedImage(url=image) if is_url(image) else LoadedImage(file=read_image(image))


def is_url(image: Image) -> TypeGuard[str]:
    """Whether `image` is text that starts with http:// or https://."""
    return isinstance(image, str) and image[:8].lower().startswith(("http://", "https://"))


def read_image(image: Image) -> bytes:
    """Bytes of an image file; arrays become PNG.

    Raises:
        OSError: the path cannot be read.
        TypeError: none of the forms of `Image`.
        ValueError: an array of another shape or type.
    """
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if isinstance(image, np.ndarray):
        return encode_png(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    raise TypeError(f"image must be a path, a URL, bytes or an array, not {type(image).__name__}")


def fetch(url: str, timeout_s: float) -> bytes:
    """What is at a URL, redirects followed.

    Raises:
        ConnectionFailedError: it cannot be fetched.
    """
    try:
        response = httpx.get(url, timeout=timeout_s, follow_redirects=True)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionFailedError(f"{url}: {error}") from error
    return response.content


def encode_png(pixels: npt.NDArray[Any]) -> bytes:
    """Pixels, uint8 [H, W, 3] in RGB order or [H, W] in grey, as a PNG file.

    Raises:
        ValueError: another shape or type.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in _PNG_COLOUR_TYPES:
        raise ValueError(
            "an image array must be uint8 [H, W, 3] (RGB) or [H, W], "
            f"not {pixels.dtype} {list(pixels.shape)}"
        )
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    # Each row starts with its filter; 0 is "none".
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    return b"".join(
        [
            _PNG_SIGNATURE,
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", zlib.compress(rows.tobytes(), level=1)),
            _png_chunk(b"IEND", b""),
        ]
    )


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
