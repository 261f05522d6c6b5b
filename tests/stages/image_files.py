"""Image files made by hand, where Pillow would not write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(
    size: tuple[int, int],
    rows: bytes,
    *,
    depth: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    further: bytes = b"",
) -> bytes:
    """A PNG of (width, height) whose image data is `rows`; each row starts with a filter byte."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            further,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        ]
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_tiff(size: tuple[int, int], data: bytes, tags: dict[int, int]) -> bytes:
    """A little-endian 8-bit grey TIFF; a tag with value -1 gets the offset of `data`."""
    width, height = size
    all_tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1} | tags
    offset = 8 + 2 + 12 * len(all_tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, offset if value == -1 else value)
        for tag, value in sorted(all_tags.items())
    )
    return b"".join(
        [b"II*\0", struct.pack("<IH", 8, len(all_tags)), entries, struct.pack("<I", 0), data]
    )


def jpeg_with_more_scans(image: Image.Image, scans: int) -> bytes:
    """A progressive JPEG whose last scan is there `scans` times more."""
    file = encoded(image, "JPEG", progressive=True)
    end = file.rindex(b"\xff\xd9")
    scan = file[file.rindex(b"\xff\xda", 0, end) : end]
    return file[:end] + scan * scans + file[end:]
