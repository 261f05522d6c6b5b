"""Inputs and calls on which PaddleX's pipeline and ours are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

STANDIN_MODELS = Path(__file__).parents[1] / "contract" / "data" / "standin_models"
PHOTO = Path(__file__).parents[1] / "contract" / "data" / "images" / "base.jpg"
PIPELINE = "pipeline.yaml"

_BOXES = [[100, 100, 300, 300], [400, 200, 700, 500]]
_SMALL_BOX = [[1, 1, 30, 20]]

CASES: dict[str, dict[str, Any]] = {
    "boxes": {"input": "photo.jpg", "prompt_type": "box", "prompt": _BOXES},
    "boxes with fractions": {
        "input": "photo.jpg",
        "prompt_type": "box",
        "prompt": [[100.25, 99.5, 300, 300.75]],
    },
    "boxes in an array": {"input": "small.png", "prompt": [[1.5, 1, 30, 20]], "numpy": True},
    "a box outside": {"input": "small.png", "prompt": [[-10, -5, 25, 12], [50, 50, 60, 60]]},
    "no prompt type": {"input": "small.png", "prompt": _SMALL_BOX},
    "no prompts": {"input": "small.png", "prompt": []},
    "a point": {"input": "photo.jpg", "prompt_type": "point", "prompt": [[550, 350]]},
    "a point with a fraction": {
        "input": "photo.jpg",
        "prompt_type": "point",
        "prompt": [[550.5, 350]],
    },
    "two points": {"input": "small.png", "prompt_type": "point", "prompt": [[5, 5], [30, 20]]},
    "an array": {"input": {"array": "small.png"}, "prompt": _SMALL_BOX},
    "a list": {"input": ["small.png", {"array": "small.png"}, "turned.jpg"], "prompt": _SMALL_BOX},
    "a folder": {"input": "folder", "prompt": _SMALL_BOX},
    "a folder with a slash": {"input": "./folder/", "prompt": _SMALL_BOX},
    "a turned photo": {"input": "turned.jpg", "prompt": [[1, 1, 20, 30]]},
    "a PDF of one page": {"input": "page.pdf", "prompt": _SMALL_BOX},
    "a PDF of two pages": {"input": "pages.pdf", "prompt": _SMALL_BOX},
    "a TIFF file": {"input": "page.tiff", "prompt": _SMALL_BOX},
    "a TIFF file of two pages": {"input": "pages.tiff", "prompt": _SMALL_BOX},
    "a grey PNG": {"input": "grey.png", "prompt": _SMALL_BOX},
    "a PPM file": {"input": "small.ppm", "prompt": _SMALL_BOX},
    "a GIF file": {"input": "small.gif", "prompt": _SMALL_BOX},
    "no such file": {"input": "nothing.jpg", "prompt": _SMALL_BOX},
    "another prompt type": {"input": "small.png", "prompt_type": "word", "prompt": _SMALL_BOX},
}


def make_inputs(folder: Path) -> None:
    """Write the files that the cases name, and the pipeline's YAML file."""
    (folder / "photo.jpg").write_bytes(PHOTO.read_bytes())
    small = Image.open(PHOTO).resize((40, 30))
    upright = small.transpose(Image.Transpose.ROTATE_90)
    for name in ("small.png", "small.ppm", "small.gif"):
        small.save(folder / name)
    small.convert("L").save(folder / "grey.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by a quarter
    small.save(folder / "turned.jpg", exif=exif)
    for suffix in ("pdf", "tiff"):
        # A copy: Pillow keeps in an image how it was last encoded, and trips over it.
        small.copy().save(folder / f"page.{suffix}")
        small.copy().save(folder / f"pages.{suffix}", save_all=True, append_images=[upright.copy()])
    (folder / "folder" / "deeper").mkdir(parents=True)
    for name in ("b.png", "deeper/a.jpg", "图.jpg"):
        small.save(folder / "folder" / name)
    (folder / "folder" / "notes.txt").write_text("no image\n")
    modules = "".join(
        f"  {kind}PromptSegmentation:\n"
        f"    module_name: {kind.lower()}_prompt_segmentation\n"
        f"    model_name: SAM-H_{kind.lower()}\n"
        f"    model_dir: {STANDIN_MODELS / f'SAM-H_{kind.lower()}'}\n"
        "    batch_size: 1\n"
        for kind in ("Box", "Point")
    )
    (folder / PIPELINE).write_text(
        f"pipeline_name: open_vocabulary_segmentation\n\nSubModules:\n{modules}"
    )
