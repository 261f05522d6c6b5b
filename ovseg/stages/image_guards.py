"""What Pillow does not look at in hostile image files: bombs, and pictures that end too early.

Pillow bounds decompressed text and colour profiles, and refuses most files that end early. What is
left: a JPEG of very many scans, a TIFF whose tiles are larger than its picture, a PNG whose data
has fewer rows than its header says, and a JPEG that was cut off and closed with an end marker.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, TiffImagePlugin

MAX_JPEG_SCANS = 100
"""A picture has a dozen. Each costs a pass over all of it, and a hundred bytes of the file."""

_EOI, _SOS = 0xD9, 0xDA
_WITHOUT_LENGTH = (0x01, 0xD8)
# In a scan, FF 00 is a byte FF, FF D0 … FF D7 are restart markers, and FF FF is padding.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MID_GREY = (127, 128)
_FILLER = bytes(range(1, 128))

_TILE_WIDTH, _TILE_LENGTH = 322, 323

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_ADAM7_LAST = (0, 1, 1, 2)
_INFLATE_STEP = 1 << 20


def refusal_of_header(image: Image.Image, file: bytes, max_pixels: int) -> str | None:
    """Why an opened and not yet decoded image must not be decoded; None if it may.

    Args:
        image: what `Image.open` made of the file.
        file: the file.
        max_pixels: what is accepted as a picture's size.
    """
    if image.format in ("JPEG", "MPO"):
        scans, _ = _jpeg_scans(file)
        if scans > MAX_JPEG_SCANS:
            return f"a JPEG of more than {MAX_JPEG_SCANS} scans"
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, length = (int(image.tag_v2.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if width * length > max_pixels:
            return f"a TIFF with tiles over the limit of {max_pixels} pixels"
        covered = 0
        for tile in image.tile:
            left, upper, right, lower = tile.extents or (0, 0, *image.size)
            covered += (right - left) * (lower - upper)
        if covered < image.width * image.height:
            return "a TIFF that lacks a part of its picture"
    return None


def ends_early(image: Image.Image, file: bytes) -> bool:
    """Whether a decoded image's file held less than the whole picture.

    Args:
        image: the decoded picture, neither turned nor converted.
        file: the file.
    """
    width, height = image.size
    if image.format == "PNG":
        # Rows that were never decoded are zero; of an interlaced picture they are anywhere.
        last_rows = np.asarray(image.crop((0, height - 1, width, height)))
        is_interlaced = file[28] != 0
        return bool(is_interlaced or not last_rows.any()) and _png_lacks_data(file)
    if image.format in ("JPEG", "MPO"):
        # libjpeg paints mid-grey what is missing. Whether grey was really sent shows by putting
        # bytes in front of the end marker: they are skipped, unless something was missing.
        corner = np.asarray(image.crop((max(0, width - 8), height - 1, width, height)))
        _, end = _jpeg_scans(file)
        if end is not None and np.isin(corner, _MID_GREY).all():
            return _pixels_differ(image, file[:end] + _FILLER + file[end:])
    return False


def _jpeg_scans(file: bytes) -> tuple[int, int | None]:
    """How many scans a JPEG has, and where the end marker after the last of them is."""
    scans, at = 0, 2
    while found := _MARKER.search(file, at):
        at, marker = found.end(), file[found.start() + 1]
        if marker == _EOI:
            return scans, found.start()
        if marker == _SOS:
            scans += 1
        if scans > MAX_JPEG_SCANS or at + 2 > len(file):
            break
        if marker not in _WITHOUT_LENGTH:
            at += struct.unpack_from(">H", file, at)[0]
    return scans, None


def _pixels_differ(image: Image.Image, file: bytes) -> bool:
    with Image.open(io.BytesIO(file), formats=("JPEG",)) as other:
        other.load()
        return image.tobytes() != other.tobytes()


def _png_lacks_data(file: bytes) -> bool:
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", file, 16)
    bits = depth * _PNG_CHANNELS[colour]
    missing = 0
    for left, top, across, down in (*_ADAM7, _ADAM7_LAST) if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + -(-columns * bits // 8))
    inflater = zlib.decompressobj()
    for data in _png_image_data(file):
        while missing > 0:
            inflated = len(inflater.decompress(data, _INFLATE_STEP))
            missing -= inflated
            data = inflater.unconsumed_tail
            if not data and inflated < _INFLATE_STEP:
                break
    return missing > 0


def _png_image_data(file: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(file):
        length, kind = struct.unpack_from(">I4s", file, at)
        if kind == b"IDAT":
            yield file[at + 8 : at + 8 + length]
        at += 12 + length
