"""Does PaddleX itself load our export, and does it see the same masks as our service?

Exports an installed model, lets PaddleX (in an environment of its own) segment photos with boxes
and points, runs our stages on the same photos with the installed model, and prints a table.

    python3 -m venv peer
    peer/bin/pip install 'paddlex[multimodal,serving]==3.7.2' paddlepaddle 'pycocotools<=2.0.8'
    python tests/peer/compare_with_paddlex.py sam_mini photo.jpg … --peer-python peer/bin/python

It ends with exit code 1 if a mask differs: an intersection over union below 0.999.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg.exporting.export_model import export_model
from ovseg.manifest import ModelManifest
from ovseg.settings import get_settings
from ovseg.stages.encoder import load_image_encoder
from ovseg.stages.image import resize_longest_side
from ovseg.stages.masks import low_res_masks_to_rle
from ovseg.stages.prompt_decoder import load_prompt_decoder
from ovseg.stages.prompts import BOTTOM_RIGHT, FOREGROUND, TOP_LEFT, Prompts

LOWEST_IOU = 0.999
SEED = 1


def main() -> int:
    """Compare, print the table; exit code 0 if all masks agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="an installed model (OVSEG_MODEL_DIR says where)")
    parser.add_argument("photos", type=Path, nargs="+", help="images of any format")
    parser.add_argument("--peer-python", default="peer/bin/python", help="with PaddleX installed")
    parser.add_argument("--boxes", type=int, default=8, help="boxes for each photo (default 8)")
    parser.add_argument("--points", type=int, default=3, help="points for each photo (default 3)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = _cases(arguments.photos, arguments.boxes, arguments.points, folder)
        settings = get_settings().model_copy(update={"model": arguments.model})
        export_model(settings.model_folder, "paddlex", folder / "exported", progress=print)
        started = time.perf_counter()
        theirs = _paddlex_masks(arguments.peer_python, folder, cases)
        print(f"PaddleX: {len(cases)} runs in {time.perf_counter() - started:.0f} s")
        ours = _our_masks(settings, cases)
    return _report(cases, ours, theirs)


def _cases(photos: list[Path], boxes: int, points: int, folder: Path) -> list[dict[str, Any]]:
    """The requests. Photos become PNG files, so that no JPEG decoder can make a difference."""
    rng = np.random.default_rng(SEED)
    cases: list[dict[str, Any]] = []
    for photo in photos:
        image = Image.open(photo).convert("RGB")
        png = folder / f"{photo.stem}.png"
        image.save(png)
        size = np.array([image.width, image.height])
        corners = np.sort(rng.random((boxes, 2, 2)) * (size - 1), axis=1).round(1)
        case = {"photo": photo.name, "image": str(png)}
        cases.append({**case, "prompt_type": "box", "prompt": corners.reshape(-1, 4).tolist()})
        for point in (rng.random((points, 2)) * (size - 1)).round(1):
            # PaddleX takes one point a request.
            cases.append({**case, "prompt_type": "point", "prompt": [point.tolist()]})
    return cases


def _paddlex_masks(
    peer_python: str, folder: Path, cases: list[dict[str, Any]]
) -> list[NDArray[np.bool_]]:
    models = {kind: str(folder / "exported" / f"SAM-H_{kind}") for kind in ("box", "point")}
    work, output = folder / "work.json", folder / "masks.npz"
    work.write_text(json.dumps({"models": models, "cases": cases}), "utf-8")
    script = Path(__file__).with_name("paddlex_masks.py")
    subprocess.run([peer_python, str(script), str(work), str(output)], check=True, cwd=folder)
    with np.load(output) as masks:
        return [masks[str(index)] for index in range(len(cases))]


def _our_masks(settings: Any, cases: list[dict[str, Any]]) -> list[NDArray[np.bool_]]:
    """The masks of our stages, decoded from the run-length texts that clients get."""
    side = ModelManifest.load(settings.model_folder).input_size
    encoder, decoder = load_image_encoder(settings), load_prompt_decoder(settings)
    embeddings: dict[str, NDArray[np.float32]] = {}
    masks = []
    for case in cases:
        original = np.asarray(Image.open(case["image"]))
        height, width = original.shape[:2]
        if case["image"] not in embeddings:
            pixels, input_size = resize_longest_side(original, side)
            embeddings[case["image"]] = encoder.encode(
                pixels[None], np.array([input_size], np.int32)
            )
        given = np.array(case["prompt"], np.float32)
        labels = [TOP_LEFT, BOTTOM_RIGHT] if case["prompt_type"] == "box" else [FOREGROUND]
        prompts = Prompts(
            given.reshape(len(given), -1, 2), np.tile(np.array(labels, np.int32), (len(given), 1))
        )
        low_res_masks, _ = decoder.decode(
            embeddings[case["image"]], prompts.scaled((height, width), side), None, False
        )
        counts = low_res_masks_to_rle(low_res_masks, side, (height, width))
        rles = [{"size": [height, width], "counts": text} for text in counts.ravel()]
        masks.append(np.moveaxis(coco_mask.decode(rles), -1, 0).astype(bool))
    return masks


def _report(
    cases: list[dict[str, Any]],
    ours: list[NDArray[np.bool_]],
    theirs: list[NDArray[np.bool_]],
) -> int:
    print("| photo | size | prompts | masks | identical | lowest IoU | mask area |")
    print("|---|---|---|---|---|---|---|")
    worst = 1.0
    groups = dict.fromkeys((case["photo"], case["prompt_type"]) for case in cases)
    for photo, prompt_type in groups:
        rows = [
            index
            for index, case in enumerate(cases)
            if (case["photo"], case["prompt_type"]) == (photo, prompt_type)
        ]
        mine = np.concatenate([ours[row] for row in rows])
        peer = np.concatenate([theirs[row] for row in rows])
        union = (mine | peer).sum(axis=(1, 2))
        common = (mine & peer).sum(axis=(1, 2))
        ious = np.where(union == 0, 1.0, common / np.maximum(union, 1))
        identical = int((mine == peer).all(axis=(1, 2)).sum())
        worst = min(worst, float(ious.min()))
        height, width = mine.shape[1:]
        print(
            f"| {photo} | {width} x {height} | {prompt_type} | {len(mine)} | {identical} "
            f"| {ious.min():.6f} | {mine.mean():.0%} |"
        )
    print(f"lowest IoU of all: {worst:.6f} ({'pass' if worst >= LOWEST_IOU else 'FAIL'})")
    return 0 if worst >= LOWEST_IOU else 1


if __name__ == "__main__":
    sys.exit(main())
