"""Image files that lie, blow up or end too early: each refused, and before it costs anything."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovseg.settings import IMAGE_FORMATS
from ovseg.stages import image_guards
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image import decode_image
from tests.stages.image_files import encoded, grey_tiff, jpeg_with_more_scans, png, png_chunk

LIMIT = 10_000_000
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (37, 53, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
NOISE = Image.fromarray(RNG.integers(0, 256, (300, 300, 3), np.uint8))
FILTERED_ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
BLACK_ROWS = bytes(len(FILTERED_ROWS))
BOMB = bytes(100_000_000)
FILES = {
    "JPEG": encoded(PICTURE, "JPEG"),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "phone": encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
    "CMYK": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "PNG": encoded(PICTURE, "PNG"),
    "palette": encoded(PICTURE.quantize(16), "PNG"),
    "WebP": encoded(PICTURE, "WEBP"),
    "lossless WebP": encoded(PICTURE, "WEBP", lossless=True),
    "BMP": encoded(PICTURE, "BMP"),
    "TIFF": encoded(PICTURE, "TIFF"),
    "LZW": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encoded(PICTURE, "TIFF", compression="jpeg"),
    "GIF": encoded(PICTURE.quantize(16), "GIF"),
    "animated": encoded(PICTURE, "GIF", save_all=True, append_images=[NOISE.resize((53, 37))]),
}


def refused(file: bytes, told: str, limit: int = LIMIT) -> None:
    with pytest.raises(InvalidInputError, match=r"^image: .*" + told):
        decode_image(file, limit)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused_or_gives_the_whole_picture(name: str) -> None:
    file = FILES[name]
    whole = decode_image(file, LIMIT)
    for length in range(0, len(file), 1 if len(file) < 3000 else 7):
        try:
            decoded = decode_image(file[:length], LIMIT)
        except InvalidInputError:
            continue
        np.testing.assert_array_equal(decoded, whole, err_msg=f"{length} of {len(file)} bytes")


@pytest.mark.parametrize("format", IMAGE_FORMATS)
def test_the_size_in_the_header_is_refused_before_decoding(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encoded(Image.new("RGB", (400, 300)), format)
    monkeypatch.setattr(Image.Image, "load", lambda _self: pytest.fail("it was decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _self: pytest.fail("it was decoded"))
    refused(file, "400x300 is over the limit of 119999 pixels", 119_999)


def test_a_long_side_is_refused_before_decoding() -> None:
    file = encoded(Image.new("1", (1, 3000)), "PNG")
    assert decode_image(file, LIMIT, max_side=3000).shape == (3000, 1, 3)
    with pytest.raises(InvalidInputError, match="1x3000 is over the limit of 2999 pixels a side"):
        decode_image(file, LIMIT, max_side=2999)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    refused(png(size, b""), "")
    refused(grey_tiff(size, b"", {273: -1, 279: 0}), "")


@pytest.mark.parametrize("rows", [FILTERED_ROWS, BLACK_ROWS])
@pytest.mark.parametrize("height", [38, 370])
def test_a_png_whose_header_claims_more_rows_than_there_are_is_refused(
    rows: bytes, height: int
) -> None:
    assert decode_image(png((53, 37), rows), LIMIT).shape == (37, 53, 3)
    refused(png((53, height), rows), "a part of it is missing")


def test_an_interlaced_png_that_lacks_a_pass_is_refused() -> None:
    # The passes of 8x7 grey: rows, each of a filter byte and its columns. The last row of the
    # picture is in the sixth.
    passes = ((1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (3, 8))
    data = b"".join((b"\0" + bytes([9] * columns)) * rows for rows, columns in passes)

    def interlaced(data: bytes) -> bytes:
        return png((8, 7), data, colour=0, interlaced=True)

    assert decode_image(interlaced(data), LIMIT).min() == 9
    refused(interlaced(data[: -3 * 9]), "a part of it is missing")
    refused(interlaced(data[:-1]), "")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("is_progressive", [False, True])
def test_a_picture_that_is_grey_in_its_corner_is_no_truncated_one(
    mode: str, is_progressive: bool
) -> None:
    bands = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    grey = Image.merge(mode, [Image.new("L", (40, 30), 128)] * bands)
    file = encoded(grey, "JPEG", progressive=is_progressive)
    assert decode_image(file, LIMIT).shape == (30, 40, 3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 2}, {"subsampling": 0}])
def test_a_jpeg_that_was_cut_and_closed_again_is_refused(
    share: float, options: dict[str, int]
) -> None:
    file = encoded(NOISE, "JPEG", **options)
    refused(file[: int(len(file) * share)] + b"\xff\xd9", "")


def test_a_progressive_jpeg_that_was_cut_in_its_first_scan_is_refused() -> None:
    file = encoded(NOISE, "JPEG", progressive=True)
    first_scan = file.index(b"\xff\xda")
    refused(file[: first_scan + 400] + b"\xff\xd9", "missing")


def test_a_tiff_that_lacks_a_strip_is_refused() -> None:
    data = bytes(range(1, 33))
    tags = {273: -1, 278: 4, 279: len(data)}
    decode_image(grey_tiff((8, 4), data, tags), LIMIT)
    refused(grey_tiff((8, 8), data, tags), "lacks a part")


def test_a_small_tiff_with_huge_tiles_is_refused() -> None:
    side = 4000
    data = zlib.compress(bytes(side * side))

    def tiled(side: int) -> bytes:
        tags = {259: 8, 322: side, 323: side, 324: -1, 325: len(data)}
        return grey_tiff((16, 16), data, tags)

    assert decode_image(tiled(side), side * side).shape == (16, 16, 3)
    refused(tiled(side), "tiles over the limit", side * side - 1)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    decode_image(jpeg_with_more_scans(PICTURE, 50), LIMIT)
    refused(jpeg_with_more_scans(PICTURE, 100), "more than 100 scans")
    # libjpeg skips rubbish between segments, so it hides no scan.
    scans = jpeg_with_more_scans(PICTURE, 100).replace(b"\xff\xda", b"rubbish\xff\xff\xda")
    refused(scans, "more than 100 scans")


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_text_and_profiles_that_blow_up_are_refused(kind: bytes) -> None:
    head = b"k\0\1\0\0\0" if kind == b"iTXt" else b"k\0\0"
    bomb = png_chunk(kind, head + zlib.compress(BOMB))
    before = psutil.Process().memory_info().rss
    refused(png((53, 37), FILTERED_ROWS, further=bomb), "MAX_TEXT_CHUNK")
    assert psutil.Process().memory_info().rss - before < len(BOMB) // 2


def test_an_image_of_the_largest_size_costs_no_more_than_its_pixels() -> None:
    bomb = encoded(Image.new("1", (8000, 8000)), "PNG")  # 8 KB
    assert len(bomb) < 10_000
    refused(bomb, "8000x8000 is over the limit")


def mutated(file: bytes, other: bytes, dice: random.Random) -> bytes:
    """The file with a few bits flipped, bytes set, cut, or spliced with another file."""
    content = bytearray(file)
    for _ in range(dice.randint(1, 8)):
        if not content:
            break
        at = dice.randrange(len(content))
        if dice.random() < 0.5:  # headers are where lies are
            at = min(at, dice.randrange(64))
        match dice.randrange(6):
            case 0:
                content[at] ^= 1 << dice.randrange(8)
            case 1:
                content[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                content[at : at + 4] = dice.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0")
                )
            case 3:
                del content[at : at + dice.randint(1, 64)]
            case 4:
                content[at:at] = content[dice.randrange(len(content)) :][: dice.randint(1, 64)]
            case 5:
                content[at:] = other[dice.randrange(len(other)) :]
    return bytes(content)


def corpus(count: int, seed: int) -> Iterator[bytes]:
    """Files of every format, damaged at random, the same for every run."""
    dice = random.Random(seed)
    files = list(FILES.values())
    for i in range(count):
        yield mutated(files[i % len(files)], dice.choice(files), dice)


def test_no_damage_makes_anything_but_a_picture_or_a_refusal() -> None:
    pictures = 0
    slowest = 0.0
    for file in corpus(6000, seed=1):
        started = time.monotonic()
        try:
            decoded = decode_image(file, 1_000_000)
        except InvalidInputError as error:
            assert error.field == "image"
            assert "\n" not in str(error)
        else:
            pictures += 1
            assert decoded.dtype == np.uint8
            assert decoded.ndim == 3
            assert decoded.size <= 3_000_000
        slowest = max(slowest, time.monotonic() - started)
    assert 500 < pictures < 5500  # the damage is neither harmless nor always fatal
    assert slowest < 10  # nothing hangs


def grown_bytes(rounds: int) -> int:
    """What this process gains when it decodes the same damaged files `rounds` times more."""
    process = psutil.Process()

    def decode_all() -> int:
        for file in corpus(2000, seed=2):
            with contextlib.suppress(InvalidInputError):
                decode_image(file, 1_000_000)
        return int(process.memory_info().rss)

    decode_all()  # caches fill, the heap takes its shape
    after_one = decode_all()
    return max(decode_all() for _ in range(rounds)) - after_one


def test_damaged_files_leave_no_memory_behind() -> None:
    # A process of its own: the heap of this one is as ragged as the tests before have left it.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(grown_bytes, 2).result() < 30_000_000


@given(name=st.sampled_from(sorted(FILES)), at=st.integers(0, 2000), inserted=st.binary(max_size=9))
def test_bytes_put_anywhere_give_a_picture_or_a_refusal(
    name: str, at: int, inserted: bytes
) -> None:
    file = FILES[name]
    try:
        decode_image(file[:at] + inserted + file[at:], LIMIT)
    except InvalidInputError as error:
        assert error.field == "image"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_refused(content: bytes) -> None:
    try:
        decode_image(content, LIMIT)
    except InvalidInputError as error:
        assert error.field == "image"


@given(head=st.binary(max_size=64), tail=st.binary(max_size=64))
def test_the_jpeg_walk_ends_on_any_bytes(head: bytes, tail: bytes) -> None:
    scans, end = image_guards._jpeg_scans(b"\xff\xd8" + head + b"\xff\xda" + tail)
    assert scans <= image_guards.MAX_JPEG_SCANS + 1
    assert end is None or end >= 2
