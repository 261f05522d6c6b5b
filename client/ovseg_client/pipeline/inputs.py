"""What callers pass as `input`, made into images one after another."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ovseg_client.images import encode_png, fetch, is_url

Input = str | os.PathLike[str] | npt.NDArray[np.uint8]
"""One input: an image file, a PDF, a folder, a URL, or pixels in OpenCV's order (BGR)."""

Inputs = Input | list[Any] | tuple[Any, ...]
"""An input, or a list of inputs."""

# Of files in a folder; a file that is named itself may have any name.
_PICTURE_SUFFIXES = (".bmp", ".dib", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_PNM_SUFFIXES = (".pbm", ".pgm", ".pnm", ".ppm")
_SUFFIXES = frozenset((*_PICTURE_SUFFIXES, *_PNM_SUFFIXES, ".pdf"))
_SENT_AS_THEY_ARE = frozenset(("BMP", "GIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP"))
"""Formats that the server reads, in Pillow's names."""

_PDF_SIGNATURE = b"%PDF-"
_PDF_SIGNATURE_WITHIN = 1024  # As readers of PDF do: some files begin with something else.
_PDF_SCALE = 2.0
"""Pixels for each point (1/72 inch) of a page, as PaddleX has it."""
_PDF_MOST_PIXELS = 80_000_000
"""Larger pages get a smaller scale; below the server's own default limit of 89 million."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """One image to ask the server about."""

    path: str | None
    """The file or URL, as the caller named it; None for an array."""
    page: int | None
    """Counted from 0, of a file that has several pages; None for all others."""
    file: bytes
    """The image, as a file."""

    @property
    def name(self) -> str | None:
        """The file's name without its folder, `doc_0.pdf` for the first of several pages."""
        if self.path is None:
            return None
        location = unquote(urlsplit(self.path).path) if is_url(self.path) else self.path
        path = Path(location)
        return path.name if self.page is None else f"{path.stem}_{self.page}{path.suffix}"


def read_inputs(
    source: Input | list[Any] | tuple[Any, ...], timeout_s: float
) -> Iterator[InputImage]:
    """The images of an input or of a list of inputs, each read when its turn comes.

    Args:
        source: see `Input`; folders are searched to their bottom, files in the order of their path.
        timeout_s: longest wait for a URL.

    Raises:
        TypeError: something else than an `Input`.
        ValueError: an array of another shape or type than uint8 [H, W], [H, W, 3] or [H, W, 4],
            or a PDF that cannot be read.
        OSError: a file cannot be read, or a folder holds no images.
        OvsegError: a URL cannot be fetched.
        ImportError: a PDF without the extra `pdf`.
    """
    if isinstance(source, list | tuple):
        for one in source:
            yield from read_inputs(one, timeout_s)
    elif isinstance(source, np.ndarray):
        yield InputImage(None, None, encode_png(_rgb(source)))
    elif is_url(source):
        yield from _images_in(source, fetch(source, timeout_s))
    elif isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        for file in _files_in(path) if os.path.isdir(path) else [path]:
            yield from _images_in(file, Path(file).read_bytes())
    else:
        raise TypeError(
            "input must be a path, a URL, an array, or a list of these, "
            f"not {type(source).__name__}"
        )


def _files_in(folder: str) -> list[str]:
    files = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES
    )
    if not files:
        raise FileNotFoundError(f"{folder}: no images and no PDF files in this folder")
    return files


def _images_in(path: str, content: bytes) -> Iterator[InputImage]:
    """The pages of a PDF or a TIFF file, else the one image."""
    if _PDF_SIGNATURE in content[:_PDF_SIGNATURE_WITHIN]:
        yield from _numbered(path, *_pdf_pages(path, content))
        return
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        # The server says what is wrong with it.
        yield InputImage(path, None, content)
        return
    with image:
        frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if frames == 1 and image.format in _SENT_AS_THEY_ARE:
            yield InputImage(path, None, content)
        else:
            yield from _numbered(path, frames, _frames(image, frames))


def _numbered(
    path: str, count: int, pages: Iterator[npt.NDArray[np.uint8]]
) -> Iterator[InputImage]:
    for page, pixels in enumerate(pages):
        yield InputImage(path, page if count > 1 else None, encode_png(pixels))


def _frames(image: Image.Image, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    for index in range(count):
        image.seek(index)
        yield np.asarray(image.convert("RGB"))


def _pdf_pages(path: str, content: bytes) -> tuple[int, Iterator[npt.NDArray[np.uint8]]]:
    """The number of pages, and the pages: uint8 [H, W, 3] RGB."""
    try:
        import pypdfium2
    except ImportError as missing:
        raise ImportError(
            f"PDF files need pypdfium2: pip install 'ovseg-client[pdf]' ({missing})"
        ) from missing
    try:
        document = pypdfium2.PdfDocument(content)
        document.init_forms()  # What is filled in is drawn too.
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"{path}: this PDF cannot be read: {error}") from None

    def pages() -> Iterator[npt.NDArray[np.uint8]]:
        with document:
            for page in document:
                width, height = page.get_size()
                scale = min(_PDF_SCALE, math.sqrt(_PDF_MOST_PIXELS / max(width * height, 1.0)))
                yield _rgb(page.render(scale=scale).to_numpy())
                page.close()

    return len(document), pages()


def _rgb(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """OpenCV's channels, BGR or BGRA, as RGB; grey stays."""
    if pixels.ndim != 3 or pixels.shape[2] == 1:
        return pixels
    return np.ascontiguousarray(pixels[:, :, 2::-1])
