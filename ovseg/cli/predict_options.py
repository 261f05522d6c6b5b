"""The options of `ovseg predict`, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from ovseg_client.client import TOKEN_VARIABLE
from ovseg_client.pipeline.server import ADDRESS_VARIABLE

from ovseg.cli.predict_formats import Format
from ovseg.cli.predict_prompts import BOX_FORM, POINT_FORM

_PROMPTS, _OUTPUT, _SERVER = "What to find", "What to get", "Whom to ask"

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="Image files, folders of them (to their bottom), http(s) URLs."
    ),
]

Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar=BOX_FORM,
        rich_help_panel=_PROMPTS,
        help="A box around an object; repeat for several.",
    ),
]

Points = Annotated[
    list[str] | None,
    typer.Option(
        metavar=POINT_FORM,
        rich_help_panel=_PROMPTS,
        help="A point on an object; repeat for several.",
    ),
]

BackgroundPoints = Annotated[
    list[str] | None,
    typer.Option(
        metavar=POINT_FORM,
        rich_help_panel=_PROMPTS,
        help="A point that is not on the object; all points then mark one object.",
    ),
]

Together = Annotated[
    bool,
    typer.Option(
        "--together",
        rich_help_panel=_PROMPTS,
        help="All points, and the box, mark one object.",
    ),
]

Everything = Annotated[
    bool,
    typer.Option(
        "--everything", rich_help_panel=_PROMPTS, help="All objects, by a grid of points."
    ),
]

PointsPerSide = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=_PROMPTS,
        help="Of the grid of --everything.",
        show_default="the server's, 32",
    ),
]

Refine = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MASK_ID",
        rich_help_panel=_PROMPTS,
        help="A mask of the same image to start from, by its id (see --keep-masks); repeat, "
        "one for each object.",
    ),
]

OutputFormat = Annotated[
    Format,
    typer.Option(
        "--format", "-f", metavar="FORMAT", rich_help_panel=_OUTPUT, help="One of those above."
    ),
]

AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="The same as --format json.")
]

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=_OUTPUT,
        help="Where files go. table, json: a JPEG picture with the masks drawn; of several "
        "images, the folder for them. png, labels, cutout: a folder (default: here) or, for "
        "one mask, a .png file. Others: the file, instead of standard output.",
    ),
]

Multimask = Annotated[
    bool,
    typer.Option(
        "--multimask",
        rich_help_panel=_OUTPUT,
        help="Show three candidates for each object (table, json), or use the best of them.",
    ),
]

KeepMasks = Annotated[
    bool,
    typer.Option(
        "--keep-masks",
        rich_help_panel=_OUTPUT,
        help="Have the server keep the masks for a while, and show their ids (table, json).",
    ),
]

Category = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_OUTPUT,
        help="What the objects are, in COCO files.",
        show_default="object",
    ),
]

Url = Annotated[
    str | None,
    typer.Option(
        envvar=ADDRESS_VARIABLE,
        rich_help_panel=_SERVER,
        help="The server: http://host:8080, or grpc://host:8001 for Triton itself.",
        show_default="where `ovseg serve` would answer",
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_SERVER, help="A served model, if it shall not be the server's default."
    ),
]

Token = Annotated[
    str | None,
    typer.Option(
        envvar=TOKEN_VARIABLE,
        show_envvar=False,
        rich_help_panel=_SERVER,
        help="A token, if the server asks for one. Better in the environment, as OVSEG_TOKEN: "
        "others on this machine can read command lines.",
    ),
]

CaFile = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_SERVER,
        help="PEM file with the certificates to trust for an https:// server.",
    ),
]

Concurrency = Annotated[
    int,
    typer.Option(
        min=1,
        rich_help_panel=_SERVER,
        help="Of several images, how many to ask about at once.",
    ),
]
