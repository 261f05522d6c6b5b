"""What image files hold, besides 8-bit RGB: depths, colours, palettes, alpha, frames, shapes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image import decode_image
from tests.stages.image_files import encoded, png, png_chunk

LIMIT = 10_000_000
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (37, 53, 3), np.uint8)
GREY = PIXELS[:, :, 0]
PICTURE = Image.fromarray(PIXELS)
OTHER = Image.fromarray(255 - PIXELS)


def as_rgb(grey: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def deep_rows(samples: NDArray[np.uint16]) -> bytes:
    """Rows of a 16-bit PNG, unfiltered."""
    rows = samples.astype(">u2").reshape(len(samples), -1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def test_one_bit_pictures_are_black_and_white() -> None:
    bits = GREY > 127
    for format in ("PNG", "BMP", "TIFF", "GIF"):
        decoded = decode_image(encoded(Image.fromarray(bits), format), LIMIT)
        np.testing.assert_array_equal(decoded, as_rgb(bits * 255))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_becomes_three_equal_channels(format: str) -> None:
    decoded = decode_image(encoded(Image.fromarray(GREY), format), LIMIT)
    np.testing.assert_array_equal(decoded, as_rgb(GREY))


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"exact": 1})])
def test_alpha_is_dropped_and_not_blended(format: str, options: dict[str, int]) -> None:
    alpha = RNG.integers(0, 256, (37, 53, 1), np.uint8)
    picture = Image.fromarray(np.concatenate([PIXELS, alpha], axis=2))
    if format == "WEBP":
        options = {**options, "lossless": 1}
    np.testing.assert_array_equal(decode_image(encoded(picture, format, **options), LIMIT), PIXELS)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_grey_with_alpha_keeps_its_grey(format: str) -> None:
    picture = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)])
    np.testing.assert_array_equal(decode_image(encoded(picture, format), LIMIT), as_rgb(GREY))


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_looked_up(format: str) -> None:
    picture = PICTURE.quantize(16)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded(picture, format), LIMIT), expected)


@pytest.mark.parametrize("transparency", [3, bytes(range(16))])
@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_keeps_its_colour(
    format: str, transparency: int | bytes
) -> None:
    if format == "GIF" and isinstance(transparency, bytes):
        transparency = 0
    picture = PICTURE.quantize(16)
    file = encoded(picture, format, transparency=transparency)
    np.testing.assert_array_equal(decode_image(file, LIMIT), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(format: str) -> None:
    deep = RNG.integers(0, 65536, (37, 53)).astype(np.uint16)
    decoded = decode_image(encoded(Image.fromarray(deep), format), LIMIT)
    np.testing.assert_array_equal(decoded, as_rgb(deep >> 8))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_and_alpha_keep_their_high_bytes(colour: int, channels: int) -> None:
    deep = RNG.integers(0, 65536, (37, 53, channels)).astype(np.uint16)
    decoded = decode_image(png((53, 37), deep_rows(deep), depth=16, colour=colour), LIMIT)
    expected = np.repeat(deep[:, :, :1], 3, axis=2) if channels == 2 else deep[:, :, :3]
    np.testing.assert_array_equal(decoded, (expected >> 8).astype(np.uint8))


@pytest.mark.parametrize("has_segment", [True, False])
def test_cmyk_samples_are_inverted_as_adobe_and_opencv_have_them(has_segment: bool) -> None:
    file = encoded(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    at = file.index(b"\xff\xee")
    if not has_segment:
        file = file[:at] + file[at + 16 :]
    decoded = decode_image(file, LIMIT).astype(int)
    assert np.abs(decoded - [255, 0, 0]).max() <= 8


def test_adobes_ycck_is_decoded() -> None:
    file = bytearray(encoded(Image.new("CMYK", (16, 8), (10, 120, 200, 0)), "JPEG", quality=100))
    transform = file.index(b"Adobe") + 11
    assert file[transform] in (0, 2)
    file[transform] = 2
    assert decode_image(bytes(file), LIMIT).shape == (8, 16, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "PNG"])
def test_orientation_is_applied_once_in_every_format(format: str, orientation: int) -> None:
    corners = np.zeros((24, 40, 3), np.uint8)
    corners[:8, :8] = 255  # the first pixel of the file
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encoded(Image.fromarray(corners), format, exif=exif), LIMIT)

    # EXIF 2.32, tag 274: where the file's first row and column are shown.
    row, column = ((0, 0), (0, -1), (-1, -1), (-1, 0))[(orientation - 1) % 4]
    assert decoded.shape == ((24, 40, 3) if orientation <= 4 else (40, 24, 3))
    assert decoded[row, column].min() > 200
    assert (decoded > 128).all(axis=2).sum() == 64


@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff"])
def test_an_exif_block_that_nobody_can_read_turns_nothing(exif: bytes) -> None:
    file = encoded(PICTURE, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(file, LIMIT), PIXELS)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(PICTURE, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(file, LIMIT), PIXELS)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
    ],
)
def test_of_several_frames_or_pages_the_first_is_used(
    format: str, options: dict[str, object]
) -> None:
    file = encoded(PICTURE, format, save_all=True, append_images=[OTHER], **options)
    with Image.open(io.BytesIO(file)) as opened:
        assert len(list(ImageSequence.Iterator(opened))) == 2
        opened.seek(0)
        expected = np.asarray(opened.convert("RGB"))
    decoded = decode_image(file, LIMIT)
    np.testing.assert_array_equal(decoded, expected)
    assert np.abs(decoded.astype(int) - PIXELS).mean() < 30


def test_of_a_phones_multi_picture_file_the_first_is_used() -> None:
    file = encoded(PICTURE, "MPO", save_all=True, append_images=[OTHER])
    np.testing.assert_array_equal(
        decode_image(file, LIMIT), decode_image(encoded(PICTURE, "JPEG"), LIMIT)
    )


def test_what_follows_a_picture_does_not_matter() -> None:
    for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        file = encoded(PICTURE, format)
        np.testing.assert_array_equal(
            decode_image(file + b"\0 trailer \xff\xda", LIMIT), decode_image(file, LIMIT)
        )


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (2, 3)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_smallest_and_the_thinnest_pictures_are_pictures(
    format: str, size: tuple[int, int]
) -> None:
    decoded = decode_image(encoded(Image.new("RGB", size, (9, 9, 9)), format), LIMIT)
    assert decoded.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_format_that_is_not_allowed_is_refused(format: str) -> None:
    allowed = [name for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF") if name != format]
    with pytest.raises(InvalidInputError, match="not an image in a supported format"):
        decode_image(encoded(PICTURE, format), LIMIT, formats=allowed)


@pytest.mark.parametrize(
    "file",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\0\0\1\0\1\0\1\1\0\0\1\0\x20\0" + bytes(60),  # ICO
        b"P6 1 1 255\nabc",
        encoded(PICTURE, "PCX"),
        encoded(PICTURE, "JPEG2000"),
        encoded(PICTURE, "AVIF"),
    ],
)
def test_other_formats_are_not_even_looked_at(file: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"^image: not an image in a supported format"):
        decode_image(file, LIMIT)


def test_text_and_a_profile_do_not_matter() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    further = png_chunk(b"tEXt", b"k\0v") + png_chunk(b"gAMA", b"\0\0\xb1\x8f")
    np.testing.assert_array_equal(decode_image(png((53, 37), rows, further=further), LIMIT), PIXELS)
