"""`ovseg predict`."""

from __future__ import annotations

import json
import math
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from ovseg_client import (
    AuthenticationError,
    Client,
    ConnectionFailedError,
    OvsegError,
    PredictArguments,
    Prediction,
    PredictOptions,
    Rle,
)
from ovseg_client.client import TOKEN_VARIABLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovseg.cli.failing import fail
from ovseg.cli.predict_files import expand_folders, picture_files
from ovseg.settings import get_settings

_BOX_FORM, _POINT_FORM = "x0,y0,x1,y1", "x,y"
_OF_THE_SERVER = (AuthenticationError, ConnectionFailedError)
"""What would happen to the other images too."""
_OF_AN_IMAGE = (OvsegError, OSError, ValueError)
_RLE_CHARACTERS = 32


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Image files, folders of them (to their bottom), http(s) URLs."
        ),
    ],
    box: Annotated[
        list[str] | None,
        typer.Option(metavar=_BOX_FORM, help="A box around an object; repeat for several."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar=_POINT_FORM, help="A point on an object; repeat for several."),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            metavar=_POINT_FORM,
            help="A point that is not on the object; all points then mark one object.",
        ),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="All points, and the box, mark one object.")
    ] = False,
    multimask: Annotated[
        bool, typer.Option("--multimask", help="Show three candidates for each object.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="The server: http://host:8080, or grpc://host:8001 for Triton itself."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A served model, if it shall not be the server's default.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            show_envvar=False,
            help="A token, if the server asks for one. Better in the environment, as OVSEG_TOKEN: "
            "others on this machine can read command lines.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM file with the certificates to trust for an https:// server."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a JPEG picture with the masks drawn; of several images, into this folder.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object with the whole masks, a line an image."),
    ] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Of several images, how many to ask about at once.")
    ] = 4,
) -> None:
    """Ask a running server for the masks of objects in an image, or at the same places in several.

    Mark each object with a box or with a point, in pixels from the top left corner; each gives
    one mask, in the same order:

        ovseg predict photo.jpg --box 100,100,300,300 --box 400,200,700,500

        ovseg predict photo.jpg --point 550,350 --output masks.jpg

    Mark one object with several points, on it and off it, and a box, if you like:

        ovseg predict photo.jpg --box 100,100,300,300 --point 120,130 --background 250,200

    Masks are in COCO's run-length encoding, which pycocotools.mask.decode reads:

        ovseg predict photo.jpg --point 550,350 --json | jq .masks

    Of several images, those that fail are named at the end, and the others are answered:

        ovseg predict photos/ more.jpg --point 550,350 --json --output pictures/ > masks.jsonl

    Start a server with `ovseg serve`.
    """
    boxes = [_numbers("--box", text, _BOX_FORM) for text in box or []]
    points = [_numbers("--point", text, _POINT_FORM) for text in point or []]
    others = [_numbers("--background", text, _POINT_FORM) for text in background or []]
    prompts = _prompts(boxes, points, others, together or bool(others))
    sources = expand_folders(images)
    is_batch = sources != images or len(images) > 1
    pictures = picture_files(sources, output, is_batch)
    options: PredictOptions = {
        "boxes": prompts.boxes or None,
        "points": prompts.points or None,
        "labels": prompts.labels,
        "multimask": multimask,
        "visualize": output is not None,
        "model": model,
    }
    items: list[PredictArguments] = [{"image": source, **options} for source in sources]
    failures = []
    # Rows that come one after the other on the terminal show how far it is, too.
    bar = is_batch and sys.stderr.isatty() and not sys.stdout.isatty()
    try:
        with (
            Client(url or _default_url(), token=token, ca_file=ca_file) as client,
            closing(client.predict_many(items, concurrency=concurrency, progress=bar)) as results,
        ):
            for source, picture, result in zip(sources, pictures, results, strict=True):
                try:
                    _show(source, result.get(), prompts.shown, picture, as_json, is_batch)
                except _OF_THE_SERVER:
                    raise
                except _OF_AN_IMAGE as error:
                    failures.append(_reason(error, source, is_batch))
    except (OvsegError, OSError, ValueError, ImportError) as error:
        fail(_reason(error, "", False))
    if failures:
        fail("\nerror: ".join(failures))


def _show(
    source: str,
    prediction: Prediction,
    prompts: list[list[float]],
    picture: Path | None,
    as_json: bool,
    is_batch: bool,
) -> None:
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(prediction.overlay or b"")
    if as_json:
        typer.echo(json.dumps({"image": source, **_as_json(prediction, prompts)}))
        return
    _print_table(prediction, prompts, source if is_batch else "image")
    if picture is not None:
        Console(stderr=True).print(f"wrote {picture}", highlight=False)


@dataclass(frozen=True)
class _Prompts:
    boxes: list[list[float]]
    points: list[Any]
    """[x, y] of each object, or of one object [[x, y], …]."""
    labels: list[list[int]] | None
    shown: list[list[float]]
    """The numbers that say which prompt a mask belongs to."""


def _prompts(
    boxes: list[list[float]], points: list[list[float]], others: list[list[float]], together: bool
) -> _Prompts:
    if not boxes and not points and not others:
        raise typer.BadParameter("mark the objects with --box or with --point")
    if not together:
        if boxes and points:
            raise typer.BadParameter(
                "mark the objects with --box or with --point, or one object with both: --together"
            )
        return _Prompts(boxes, points, None, boxes or points)
    if len(boxes) > 1:
        raise typer.BadParameter("one object has one box", param_hint="--box")
    marks = [*points, *others]
    shown = [[number for mark in [*boxes, *marks] for number in mark]]
    if not marks:
        return _Prompts(boxes, [], None, shown)
    return _Prompts(boxes, [marks], [[1] * len(points) + [0] * len(others)], shown)


def shorten(text: str, characters: int = _RLE_CHARACTERS) -> str:
    """A long run-length text, cut for people."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]}… ({len(text)} characters)"


def _default_url() -> str:
    return get_settings().gateway_url


def _numbers(option: str, text: str, form: str) -> list[float]:
    """`10,20.5` -> [10.0, 20.5], as many as `form` has."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(form.split(",")) or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{text!r} is not of the form {form}", param_hint=option)
    return numbers


def _rows(prediction: Prediction, prompts: list[list[float]]) -> list[tuple[list[float], Any, Rle]]:
    """(prompt, score, mask) of each mask; with candidates, a prompt's come one after another."""
    rles: list[Rle] = []
    for entry in prediction.rles:
        rles.extend(entry if isinstance(entry, list) else [entry])
    scores = prediction.scores.reshape(-1).tolist()
    each = len(rles) // max(len(prompts), 1)
    repeated = [prompt for prompt in prompts for _ in range(each)]
    return list(zip(repeated, scores, rles, strict=True))


def _as_json(prediction: Prediction, prompts: list[list[float]]) -> dict[str, Any]:
    return {
        "masks": [
            {
                "prompt": prompt,
                "score": None if math.isnan(score) else score,
                "size": rle["size"],
                "counts": rle["counts"],
            }
            for prompt, score, rle in _rows(prediction, prompts)
        ]
    }


def _print_table(prediction: Prediction, prompts: list[list[float]], title: str) -> None:
    table = Table("prompt", "pixels", "score", "RLE counts", box=None)
    masks = prediction.masks.reshape(-1, *prediction.masks.shape[-2:])
    for (prompt, score, rle), mask in zip(_rows(prediction, prompts), masks, strict=True):
        table.add_row(
            ",".join(f"{number:g}" for number in prompt),
            str(int(mask.sum())),
            "" if math.isnan(score) else f"{score:.3f}",
            Text(shorten(rle["counts"])),  # no markup: the text may hold brackets
        )
    height, width = prediction.size
    console = Console()
    console.print(Text(f"{title}: {width} x {height} pixels"))
    console.print(table)


def _reason(error: Exception, source: str, is_batch: bool) -> str:
    if isinstance(error, ConnectionFailedError):
        return f"{error}\nIs a server running there? Start one with: ovseg serve"
    if isinstance(error, OSError):
        return f"{error.filename or source}: {error.strerror or error}"
    return f"{source}: {error}" if is_batch else str(error)
