"""The forms in which `ovseg predict` gives its masks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import PIL.Image
import typer
from ovseg_client import ConnectionFailedError, Prediction, Rle, formats
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovseg.cli.predict_files import check_file, check_folder, dataset_names, distinct_names

_RLE_CHARACTERS = 32


class Format(StrEnum):
    """Values of `--format`."""

    TABLE = "table"
    JSON = "json"
    POLYGONS = "polygons"
    COCO = "coco"
    COCO_POLYGONS = "coco-polygons"
    PNG = "png"
    LABELS = "labels"
    CUTOUT = "cutout"


PICTURED = (Format.TABLE, Format.JSON)
"""With these, `--output` is for pictures with the masks drawn."""
DATASETS = (Format.COCO, Format.COCO_POLYGONS)
IMAGE_FILES = (Format.PNG, Format.LABELS, Format.CUTOUT)


@dataclass(frozen=True)
class Found:
    """What was found in one image."""

    source: str
    """The image, as it was named or found in a folder."""
    prediction: Prediction
    prompts: list[list[float]]
    """Numbers that say which prompt a mask belongs to, of each prompt; [] where there are none."""


class Writer(Protocol):
    """Writes what was found in one image after another."""

    def add(self, index: int, found: Found) -> None:
        """Write the masks of the image with that number, from 0.

        Raises:
            OSError, ValueError, OvsegError: they cannot be written.
        """

    def finish(self) -> None:
        """Write what needs all images.

        Raises:
            OSError: it cannot be written.
        """


def make_writer(
    kind: Format,
    images: list[str],
    sources: list[str],
    is_batch: bool,
    output: Path | None,
    category: str | None,
) -> Writer:
    """The writer for a form.

    Args:
        kind: the form.
        images: images and folders of them, as they were given.
        sources: the images.
        is_batch: whether there are several, or might have been.
        output: what `--output` says.
        category: what `--category` says.

    Raises:
        typer.BadParameter: options that do not go together.
    """
    if category is not None and kind not in DATASETS:
        raise typer.BadParameter("only COCO files have one", param_hint="--category")
    if kind == Format.TABLE:
        return TableWriter(is_batch)
    if kind == Format.JSON:
        return JsonWriter()
    if kind in IMAGE_FILES:
        target = output or Path()
        if is_batch or target.suffix.lower() != ".png":
            check_folder(target)
        return ImageFileWriter(kind, distinct_names(sources), target)
    if output is not None:
        check_file(output)
    if kind == Format.POLYGONS:
        return PolygonWriter(output)
    names = dataset_names(images, sources)
    return CocoWriter(names, category or "object", kind == Format.COCO_POLYGONS, output)


class TableWriter:
    """Prints a table for people."""

    def __init__(self, is_batch: bool) -> None:
        self._is_batch = is_batch

    def add(self, index: int, found: Found) -> None:
        prediction = found.prediction
        has_ids = prediction.mask_ids is not None
        last = "mask id (for --refine)" if has_ids else "RLE counts"
        table = Table("prompt", "pixels", "score", last, box=None)
        areas = prediction.areas.reshape(-1).tolist()
        for (prompt, score, rle, mask_id), area in zip(_rows(found), areas, strict=True):
            table.add_row(
                ",".join(f"{number:g}" for number in prompt),
                str(area),
                "" if score is None else f"{score:.3f}",
                # No markup: the text may hold brackets.
                Text(mask_id if has_ids else shorten(rle["counts"])),
            )
        height, width = prediction.size
        console = Console()
        title = found.source if self._is_batch else "image"
        console.print(Text(f"{title}: {width} x {height} pixels"))
        console.print(table)

    def finish(self) -> None:
        pass


class JsonWriter:
    """Prints a JSON object with whole masks for each image, a line each."""

    def add(self, index: int, found: Found) -> None:
        masks = [
            {
                "prompt": prompt,
                "score": score,
                "size": rle["size"],
                "counts": rle["counts"],
                **({"maskId": mask_id} if mask_id else {}),
            }
            for prompt, score, rle, mask_id in _rows(found)
        ]
        typer.echo(json.dumps({"image": found.source, "masks": masks}))

    def finish(self) -> None:
        pass


class PolygonWriter:
    """Prints a JSON object with polygons for each image, a line each; or writes them to a file."""

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._is_first = True

    def add(self, index: int, found: Found) -> None:
        best = Found(found.source, found.prediction.chosen, found.prompts)
        prediction = best.prediction
        masks = [
            {"prompt": prompt, "score": score, "box": box, "area": area, "polygons": polygons}
            for (prompt, score, _, _), box, area, polygons in zip(
                _rows(best),
                prediction.boxes.tolist(),
                prediction.areas.tolist(),
                formats.coco_polygons(prediction),
                strict=True,
            )
        ]
        line = json.dumps({"image": found.source, "size": list(prediction.size), "masks": masks})
        if self._target is None:
            typer.echo(line)
            return
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with self._target.open("w" if self._is_first else "a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._is_first = False

    def finish(self) -> None:
        if self._target is not None and not self._is_first:
            _say_written(self._target)


class CocoWriter:
    """One COCO annotation file for all images, printed or written to a file."""

    def __init__(
        self, names: list[str], category: str, polygons: bool, target: Path | None
    ) -> None:
        self._dataset = formats.CocoDataset(category, polygons=polygons)
        self._names = names
        self._target = target

    def add(self, index: int, found: Found) -> None:
        self._dataset.add(self._names[index], found.prediction)

    def finish(self) -> None:
        content = self._dataset.as_dict()
        if not content["images"]:
            return  # All of them failed, which is said elsewhere.
        if self._target is None:
            typer.echo(json.dumps(content))
            return
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._target.write_text(json.dumps(content), "utf-8")
        _say_written(self._target)


class ImageFileWriter:
    """Writes image files, and prints their names."""

    def __init__(self, kind: Format, names: list[str], target: Path) -> None:
        """Names are those of the images without suffix; the target a folder or one PNG file."""
        self._kind = kind
        self._names = names
        self._target = target

    def add(self, index: int, found: Found) -> None:
        pictures = self._pictures(found)
        name = self._names[index]
        if self._target.suffix.lower() != ".png":
            files = [self._target / f"{name}_{ending}.png" for ending, _ in pictures]
        elif len(pictures) == 1:
            files = [self._target]
        else:
            raise ValueError(f"there are {len(pictures)} masks: let --output be a folder")
        for file, (_, picture) in zip(files, pictures, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file)
            typer.echo(file)

    def _pictures(self, found: Found) -> list[tuple[str, PIL.Image.Image]]:
        """Pictures, and how the names of their files end."""
        if self._kind == Format.LABELS:
            return [("labels", formats.label_map(found.prediction))]
        if self._kind == Format.PNG:
            pictures = formats.mask_images(found.prediction)
            return [(f"mask_{i}", picture) for i, picture in enumerate(pictures, 1)]
        try:
            pictures = formats.cutouts(found.prediction, found.source)
        except ConnectionFailedError as error:  # Not the server's failure: it had the picture.
            raise ValueError(str(error)) from error
        return [(f"cutout_{i}", picture) for i, picture in enumerate(pictures, 1)]

    def finish(self) -> None:
        pass


def _say_written(file: Path) -> None:
    typer.echo(f"wrote {file}", err=True)


def shorten(text: str, characters: int = _RLE_CHARACTERS) -> str:
    """A long run-length text, cut for people."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]}… ({len(text)} characters)"


def _rows(found: Found) -> Iterator[tuple[list[float], float | None, Rle, str]]:
    """(prompt, score, mask, its id or "") of each mask; a prompt's candidates are neighbours."""
    prediction = found.prediction
    rles = prediction.flat_rles
    each = len(rles) // max(len(found.prompts), 1)
    prompts = [prompt for prompt in found.prompts or [[]] for _ in range(each)]
    scores = [
        None if math.isnan(score) else score for score in prediction.scores.reshape(-1).tolist()
    ]
    ids: list[str] = [""] * len(rles)
    if prediction.mask_ids is not None:
        ids = [
            mask_id
            for entry in prediction.mask_ids
            for mask_id in ([entry] if isinstance(entry, str) else entry)
        ]
    return zip(prompts, scores, rles, ids, strict=True)
