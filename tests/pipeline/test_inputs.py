"""What callers pass as `input`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import ConnectionFailedError
from ovseg_client.pipeline import inputs
from ovseg_client.pipeline.inputs import InputImage, read_inputs
from PIL import Image

from tests.local_server import LocalServer

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def read(source: Any) -> list[InputImage]:
    return list(read_inputs(source, timeout_s=5.0))


def pixels_of(image: InputImage) -> Any:
    return np.asarray(Image.open(io.BytesIO(image.file)))


def save(path: Path, pixels: Any = PIXELS, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server, and the folder it serves."""
    folder = tmp_path / "website"
    folder.mkdir()
    with LocalServer(partial(QuietHandler, directory=str(folder))) as server:
        yield server.url, folder


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff"])
def test_a_file_that_the_server_reads_is_sent_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"photo.{suffix}")

    (image,) = read(path)

    assert image.file == path.read_bytes()
    assert (image.path, image.page, image.name) == (str(path), None, path.name)


def test_a_file_of_another_format_is_sent_as_png(tmp_path: Path) -> None:
    (image,) = read(str(save(tmp_path / "photo.ppm")))

    assert image.file.startswith(b"\x89PNG")
    assert np.array_equal(pixels_of(image), PIXELS)


def test_what_is_no_image_is_left_to_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")

    assert [image.file for image in read(tmp_path / "a.jpg")] == [b"no image"]


@pytest.mark.parametrize(
    ("array", "sent"),
    [
        (PIXELS, PIXELS[:, :, ::-1]),
        (np.dstack([PIXELS, PIXELS[:, :, :1]]), PIXELS[:, :, ::-1]),
        (PIXELS[:, :, 0], PIXELS[:, :, 0]),
        (PIXELS[:, :, :1], PIXELS[:, :, 0]),
    ],
    ids=["BGR", "BGRA", "grey", "grey with a channel"],
)
def test_arrays_are_in_opencvs_order(array: Any, sent: Any) -> None:
    (image,) = read(array)

    assert np.array_equal(pixels_of(image), sent)
    assert (image.path, image.name) == (None, None)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        read(PIXELS.astype(np.float32))


def test_a_folder_is_searched_to_its_bottom_in_the_order_of_paths(tmp_path: Path) -> None:
    for name in ("b.png", "deeper/a.JPG", "c.tif", "a.webp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")

    assert [Path(str(image.path)).relative_to(tmp_path).as_posix() for image in read(tmp_path)] == [
        "a.webp",
        "b.png",
        "c.tif",
        "deeper/a.JPG",
    ]


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no images"):
        read(tmp_path)


def test_a_list_may_hold_anything(tmp_path: Path) -> None:
    path = save(tmp_path / "folder" / "a.png")

    images = read([str(path), path.parent, (PIXELS, path)])

    assert [image.path for image in images] == [str(path), str(path), None, str(path)]


def test_files_are_read_when_their_turn_comes(tmp_path: Path) -> None:
    images = read_inputs([PIXELS, tmp_path / "nothing.png"], timeout_s=5.0)

    next(images)
    with pytest.raises(FileNotFoundError):
        next(images)


@pytest.mark.parametrize("source", [5, None, b"bytes", [PIXELS, 5]])
def test_other_things_are_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="input must be"):
        read(source)


def test_a_tiff_file_gives_each_of_its_pages(tmp_path: Path) -> None:
    other = PIXELS[::-1].copy()
    path = save(tmp_path / "scan.tiff", save_all=True, append_images=[Image.fromarray(other)])

    first, second = read(path)

    assert np.array_equal(pixels_of(first), PIXELS)
    assert np.array_equal(pixels_of(second), other)
    assert [(image.page, image.name) for image in (first, second)] == [
        (0, "scan_0.tiff"),
        (1, "scan_1.tiff"),
    ]


def save_pdf(path: Path, size: tuple[int, int] = (40, 30), pages: int = 1) -> Path:
    red, *others = [Image.new("RGB", size, color) for color in ("red", "blue")[:pages]]
    red.save(path, save_all=True, append_images=others)
    return path


def test_a_pdf_gives_each_of_its_pages_in_two_pixels_a_point(tmp_path: Path) -> None:
    first, second = read(save_pdf(tmp_path / "doc.pdf", pages=2))

    for image, color in ((first, (254, 0, 0)), (second, (0, 0, 254))):
        pixels = pixels_of(image)
        assert pixels.shape == (60, 80, 3)
        assert np.abs(pixels.astype(int) - color).max() < 4  # a JPEG inside
    assert [image.name for image in (first, second)] == ["doc_0.pdf", "doc_1.pdf"]


def test_a_pdf_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    (image,) = read(save_pdf(tmp_path / "doc.pdf").rename(tmp_path / "document"))

    assert pixels_of(image).shape == (60, 80, 3)
    assert (image.page, image.name) == (None, "document")


def test_a_huge_page_is_drawn_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_PDF_MOST_PIXELS", 2000)

    (image,) = read(save_pdf(tmp_path / "doc.pdf"))

    height, width, _ = pixels_of(image).shape
    assert 1000 < height * width < 2300  # pypdfium2 rounds each side up
    assert width / height == pytest.approx(4 / 3, rel=0.1)


def test_a_broken_pdf_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")

    with pytest.raises(ValueError, match=r"broken\.pdf: this PDF cannot be read"):
        read(tmp_path / "broken.pdf")


def test_without_the_extra_a_pdf_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_pdf(tmp_path / "doc.pdf")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)

    with pytest.raises(ImportError, match=r"ovseg-client\[pdf\]"):
        read(path)


def test_a_url_is_fetched_by_the_client(website: tuple[str, Path]) -> None:
    address, folder = website
    path = save(folder / "photo.png")

    (image,) = read(f"{address}/photo.png?size=large")

    assert image.file == path.read_bytes()
    assert (image.path, image.name) == (f"{address}/photo.png?size=large", "photo.png")


def test_a_url_may_lead_to_a_pdf(website: tuple[str, Path]) -> None:
    address, folder = website
    save_pdf(folder / "doc.pdf", pages=2)

    assert [image.name for image in read(f"{address}/doc.pdf")] == ["doc_0.pdf", "doc_1.pdf"]


def test_a_dead_url_is_named(website: tuple[str, Path]) -> None:
    with pytest.raises(ConnectionFailedError, match=r"/nothing\.png.*404"):
        read(f"{website[0]}/nothing.png")
