"""Which files `ovseg predict` reads and writes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import typer
from ovseg_client.images import is_url

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Of files in a folder; files that are named themselves may have any name."""


def expand_folders(images: list[str]) -> list[str]:
    """The images, with those in a folder instead of the folder.

    Raises:
        typer.BadParameter: a folder without images.
    """
    found: list[str] = []
    for image in images:
        if is_url(image) or not Path(image).is_dir():
            found.append(image)
            continue
        files = (path for path in Path(image).rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
        if not (inside := sorted(str(path) for path in files)):
            raise typer.BadParameter(f"no images in the folder {image}", param_hint="IMAGE")
        found += inside
    return found


def picture_files(sources: list[str], output: Path | None, is_batch: bool) -> list[Path | None]:
    """Where the picture of each image goes.

    Args:
        sources: the images.
        output: what `--output` says: of one image a file, of several a folder.
        is_batch: whether there are several, or might have been.

    Raises:
        typer.BadParameter: `output` is something else.
    """
    if output is None:
        return [None] * len(sources)
    if not is_batch:
        if output.suffix.lower() not in _JPEG_SUFFIXES:
            raise typer.BadParameter("the picture is a JPEG: name it .jpg", param_hint="--output")
        return [output]
    if output.exists() and not output.is_dir():
        raise typer.BadParameter("of several images, this is a folder", param_hint="--output")
    paths = [Path(urlsplit(source).path if is_url(source) else source) for source in sources]
    files = [output / f"{path.stem}_masks.jpg" for path in paths]
    if len(set(files)) < len(files):
        # Images of the same name, in several folders or formats.
        files = [output / f"{i:04}_{file.name}" for i, file in enumerate(files)]
    return list(files)
