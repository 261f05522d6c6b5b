"""`ovseg predict`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from ovseg_client import Client, ConnectionFailedError, OvsegError, Prediction, Rle
from ovseg_client.client import TOKEN_VARIABLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovseg.settings import get_settings

_BOX_FORM, _POINT_FORM = "x0,y0,x1,y1", "x,y"
_JPEG_SUFFIXES = (".jpg", ".jpeg")
_RLE_CHARACTERS = 32


def predict(
    image: Annotated[str, typer.Argument(help="Image file, or an http(s) URL.")],
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
        typer.Option("--output", "-o", help="Write a JPEG picture with the masks drawn."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the whole masks.")
    ] = False,
) -> None:
    """Ask a running server for the masks of objects in an image.

    Mark each object with a box or with a point, in pixels from the top left corner; each gives
    one mask, in the same order:

        ovseg predict photo.jpg --box 100,100,300,300 --box 400,200,700,500

        ovseg predict photo.jpg --point 550,350 --output masks.jpg

    Mark one object with several points, on it and off it, and a box, if you like:

        ovseg predict photo.jpg --box 100,100,300,300 --point 120,130 --background 250,200

    Masks are in COCO's run-length encoding, which pycocotools.mask.decode reads:

        ovseg predict photo.jpg --point 550,350 --json | jq .masks

    Start a server with `ovseg serve`.
    """
    boxes = [_numbers("--box", text, _BOX_FORM) for text in box or []]
    points = [_numbers("--point", text, _POINT_FORM) for text in point or []]
    others = [_numbers("--background", text, _POINT_FORM) for text in background or []]
    prompts = _prompts(boxes, points, others, together or bool(others))
    if output is not None and output.suffix.lower() not in _JPEG_SUFFIXES:
        raise typer.BadParameter("the picture is a JPEG: name it .jpg", param_hint="--output")
    try:
        with Client(url or _default_url(), token=token, ca_file=ca_file) as client:
            prediction = client.predict(
                image,
                boxes=prompts.boxes or None,
                points=prompts.points or None,
                labels=prompts.labels,
                multimask=multimask,
                visualize=output is not None,
                model=model,
            )
        if output is not None:
            output.write_bytes(prediction.overlay or b"")
    except ConnectionFailedError as error:
        _fail(f"{error}\nIs a server running there? Start one with: ovseg serve")
    except OSError as error:
        _fail(f"{error.filename or image}: {error.strerror or error}")
    except (OvsegError, ValueError, ImportError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(_as_json(prediction, prompts.shown)))
        return
    _print_table(prediction, prompts.shown)
    if output is not None:
        Console(stderr=True).print(f"wrote {output}", highlight=False)


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


def _print_table(prediction: Prediction, prompts: list[list[float]]) -> None:
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
    console.print(f"image: {width} x {height} pixels", highlight=False)
    console.print(table)


def _fail(message: str) -> None:
    typer.secho(f"error: {message}", fg="red", err=True)
    raise typer.Exit(1)
