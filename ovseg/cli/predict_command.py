"""`ovseg predict`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import typer
from ovseg_client import (
    AuthenticationError,
    Client,
    ConnectionFailedError,
    Everything,
    OvsegError,
    PredictArguments,
    PredictOptions,
)
from rich.console import Console

from ovseg.cli import predict_options as options
from ovseg.cli.failing import fail
from ovseg.cli.predict_everything import find_everything
from ovseg.cli.predict_files import expand_folders, picture_files
from ovseg.cli.predict_formats import PICTURED, Format, Found, make_writer
from ovseg.cli.predict_prompts import ObjectPrompts, kept_masks, read_prompts
from ovseg.settings import get_settings

_OF_THE_SERVER = (AuthenticationError, ConnectionFailedError)
"""What would happen to the other images too."""
_OF_AN_IMAGE = (OvsegError, OSError, ValueError)


def predict(
    images: options.Images,
    box: options.Boxes = None,
    point: options.Points = None,
    background: options.BackgroundPoints = None,
    together: options.Together = False,
    everything: options.Everything = False,
    points_per_side: options.PointsPerSide = None,
    refine: options.Refine = None,
    output_format: options.OutputFormat = Format.TABLE,
    as_json: options.AsJson = False,
    output: options.Output = None,
    multimask: options.Multimask = False,
    keep_masks: options.KeepMasks = False,
    category: options.Category = None,
    url: options.Url = None,
    model: options.Model = None,
    token: options.Token = None,
    ca_file: options.CaFile = None,
    concurrency: options.Concurrency = 4,
) -> None:
    """Ask a running server for the masks of objects in an image, or at the same places in several.

    Mark each object with a box or with a point, in pixels from the top left corner; each gives
    one mask, in the same order:

        ovseg predict photo.jpg --box 100,100,300,300 --box 400,200,700,500

        ovseg predict photo.jpg --point 550,350 --output masks.jpg

    Mark one object with several points, on it and off it, and a box, if you like:

        ovseg predict photo.jpg --box 100,100,300,300 --point 120,130 --background 250,200

    Correct a mask with further points; give those of before again:

        ovseg predict photo.jpg --point 550,350 --keep-masks

        ovseg predict photo.jpg --point 550,350 --background 600,380 --refine MASK_ID

    Find all objects, which takes about a thousand times as long as one:

        ovseg predict photo.jpg --everything --output masks.jpg

    What you get is a --format:

        table          for people (the default)
        json           whole masks in COCO's run-length encoding, a line for each image
        polygons       the same as outlines
        coco           one COCO annotation file for all images
        coco-polygons  the same with outlines instead of run-length encoding
        png            a picture of each mask, white on black
        labels         one picture of all masks of an image: k on the k-th, 0 elsewhere
        cutout         each object on a transparent background

        ovseg predict photo.jpg --point 550,350 --json | jq .masks

        ovseg predict photos/ --point 550,350 --format coco > annotations.json

        ovseg predict photo.jpg --point 550,350 --format cutout --output cutouts/

    Of several images, those that fail are named at the end, and the others are answered:

        ovseg predict photos/ more.jpg --point 550,350 --json --output pictures/ > masks.jsonl

    Start a server with `ovseg serve`.
    """
    if as_json:
        if output_format not in PICTURED:
            raise typer.BadParameter("it goes with no other --format", param_hint="--json")
        output_format = Format.JSON
    if everything:
        if box or point or background or refine or together or multimask or keep_masks:
            raise typer.BadParameter("it goes with no prompt", param_hint="--everything")
        prompts = ObjectPrompts([], [], None, [])
    else:
        prompts = read_prompts(box or [], point or [], background or [], together)
    sources = expand_folders(images)
    is_batch = sources != images or len(images) > 1
    address = url or get_settings().gateway_url
    if refine and is_batch:
        raise typer.BadParameter("a mask is of one image", param_hint="--refine")
    if keep_masks and output_format not in PICTURED:
        raise typer.BadParameter("only table and json show the ids", param_hint="--keep-masks")
    if (refine or keep_masks) and address.startswith("grpc"):
        raise typer.BadParameter("masks are kept by the gateway: ask its http(s) address")
    pictured = output if output_format in PICTURED else None
    pictures = picture_files(sources, pictured, is_batch)
    writer = make_writer(output_format, images, sources, is_batch, output, category)
    asked: PredictOptions = {
        "boxes": prompts.boxes or None,
        "points": prompts.points or None,
        "labels": prompts.labels,
        "multimask": multimask,
        "keep_masks": keep_masks,
        "refine": kept_masks(refine or []),
        "visualize": pictured is not None,
        "model": model,
    }
    items: list[PredictArguments] = [{"image": source, **asked} for source in sources]
    failures = []
    # Rows that come one after the other on the terminal show how far it is, too.
    bar = is_batch and sys.stderr.isatty() and not sys.stdout.isatty()
    try:
        with (
            Client(address, token=token, ca_file=ca_file) as client,
            closing(
                find_everything(client, sources, pictured is not None, model, points_per_side)
                if everything
                else client.predict_many(items, concurrency=concurrency, progress=bar)
            ) as results,
        ):
            for source, picture, result in zip(sources, pictures, results, strict=True):
                try:
                    prediction = result.get()
                    if picture is not None:
                        _write(picture, prediction.overlay or b"")
                    shown = prompts.shown
                    if isinstance(prediction, Everything):
                        shown = prediction.points.tolist()
                    writer.add(result.index, Found(source, prediction, shown))
                    if picture is not None and output_format is Format.TABLE:
                        Console(stderr=True).print(f"wrote {picture}", highlight=False)
                except _OF_THE_SERVER:
                    raise
                except _OF_AN_IMAGE as error:
                    failures.append(_reason(error, source, is_batch))
    except (OvsegError, OSError, ValueError, ImportError) as error:
        failures.append(_reason(error, "", False))
    # What was answered is kept, whatever came after it.
    try:
        writer.finish()
    except OSError as error:
        failures.append(_reason(error, "", False))
    if failures:
        fail("\nerror: ".join(failures))


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _reason(error: Exception, source: str, is_batch: bool) -> str:
    if isinstance(error, ConnectionFailedError):
        return f"{error}\nIs a server running there? Start one with: ovseg serve"
    if isinstance(error, OSError):
        return f"{error.filename or source}: {error.strerror or error}"
    return f"{source}: {error}" if is_batch else str(error)
