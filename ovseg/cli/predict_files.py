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


def dataset_names(images: list[str], sources: list[str]) -> list[str]:
    """COCO's `file_name` of each source: its path in the folder, if that is all that was given."""
    if len(images) > 1 or is_url(images[0]) or not Path(images[0]).is_dir():
        return sources
    return [Path(source).relative_to(images[0]).as_posix() for source in sources]


def distinct_names(sources: list[str]) -> list[str]:
    """A name for the files that are made of each image, without suffix."""
    paths = [Path(urlsplit(source).path if is_url(source) else source) for source in sources]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        # Images of the same name, in several folders or formats.
        names = [f"{i:04}_{name}" for i, name in enumerate(names)]
    return names


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
    check_folder(output)
    return [output / f"{name}_masks.jpg" for name in distinct_names(sources)]


def check_folder(output: Path) -> None:
    """Check that what `--output` says is a folder, or can be one.

    Raises:
        typer.BadParameter: it is a file.
    """
    if output.exists() and not output.is_dir():
        raise typer.BadParameter("of several images, this is a folder", param_hint="--output")


def check_file(output: Path) -> None:
    """Check that what `--output` says is a file, or can be one.

    Raises:
        typer.BadParameter: it is a folder.
    """
    if output.is_dir():
        raise typer.BadParameter("with this --format, this is a file", param_hint="--output")
