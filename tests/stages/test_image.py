"""Decoding of images and SAM's resize."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image import decode_image, input_size_of, resize_longest_side

LIMIT = 10_000_000
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (37, 53, 3), np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_decode_to_the_very_pixels(format: str) -> None:
    file = encoded(Image.fromarray(PIXELS), format)
    np.testing.assert_array_equal(decode_image(file, LIMIT), PIXELS)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_decode_to_something_near(format: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 53, dtype=np.uint8)[None, :, None], (37, 1, 3))
    decoded = decode_image(encoded(Image.fromarray(smooth), format), LIMIT)
    assert decoded.shape == smooth.shape
    assert np.abs(decoded.astype(int) - smooth).max() <= 16


# For each EXIF orientation, what undoes it: the array operation from stored to shown pixels.
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(Image.fromarray(PIXELS), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(file, LIMIT), ORIENTATIONS[orientation](PIXELS))


def test_grey_palette_and_alpha_become_rgb_with_alpha_dropped() -> None:
    grey = Image.fromarray(PIXELS[:, :, 0])
    np.testing.assert_array_equal(
        decode_image(encoded(grey, "PNG"), LIMIT), np.repeat(PIXELS[:, :, :1], 3, axis=2)
    )
    transparent = np.concatenate([PIXELS, np.zeros((37, 53, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(transparent), "PNG"), LIMIT), PIXELS
    )
    palette = Image.fromarray(PIXELS).quantize(16)
    np.testing.assert_array_equal(
        decode_image(encoded(palette, "PNG"), LIMIT), np.asarray(palette.convert("RGB"))
    )


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    deep = (np.arange(37 * 53).reshape(37, 53) * 33).astype(np.uint16)
    decoded = decode_image(encoded(Image.fromarray(deep), "PNG"), LIMIT)
    np.testing.assert_array_equal(decoded[:, :, 1], deep >> 8)


def test_cmyk_jpeg_decodes() -> None:
    file = encoded(Image.new("CMYK", (8, 6), (0, 0, 0, 0)), "JPEG")
    assert decode_image(file, LIMIT).min() > 240


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (b"", "empty"),
        (b"not an image", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, ""),
        (encoded(Image.fromarray(PIXELS), "PNG")[:-40], "damaged or truncated"),
        (encoded(Image.fromarray(PIXELS), "JPEG")[:-300], "damaged or truncated"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "32-bit grey"),
    ],
)
def test_what_is_not_a_whole_image_is_refused_naming_the_field(file: bytes, told: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^image: .*" + told):
        decode_image(file, LIMIT)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(Image.new("RGB", (4000, 3000)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda _self: pytest.fail("it was decoded"))
    with pytest.raises(InvalidInputError, match="4000x3000 is over the limit of 11999999 pixels"):
        decode_image(file, 11_999_999)


def test_a_tiff_that_lies_about_its_size_is_refused() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    file = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", tiffinfo=tags))
    with pytest.raises(InvalidInputError, match=r"^image: "):
        decode_image(bytes(file[: len(file) // 2]), LIMIT)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ((750, 1000), (768, 1024)),
        ((1, 2000), (1, 1024)),
        ((3, 1), (1024, 341)),
        ((5, 5), (1024, 1024)),
    ],
)
def test_the_longest_side_becomes_the_input_size(
    original: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert input_size_of(original, 1024) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([512, 1024]))
def test_the_input_size_always_fits_the_square(height: int, width: int, side: int) -> None:
    resized = input_size_of((height, width), side)
    assert max(resized) == side
    assert min(resized) >= 1


def test_resizing_is_pillows_bilinear_and_pads_right_and_bottom_with_zeros() -> None:
    padded, size = resize_longest_side(PIXELS, 64)
    assert size == (45, 64)
    expected = Image.fromarray(PIXELS).resize((64, 45), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(padded[:45, :64], np.asarray(expected))
    assert not padded[45:].any()
