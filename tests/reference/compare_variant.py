"""Compare any of Meta's variants with ours, outside the suite: vit_h takes 2.6 GB of disk thrice.

    VENV_WITH_TORCH/bin/python tests/reference/compare_variant.py record  sam_vit_h /tmp/vit_h
    .venv/bin/python           tests/reference/compare_variant.py compare sam_vit_h /tmp/vit_h
    rm -r /tmp/vit_h

`record` builds Meta's network with seeded weights, saves its state dict with torch, and writes
its embedding of a photo and the answers to the prompts of tests/golden/cases.py. `compare` imports
the state dict, encodes the same photo with the installed model, and prints how they agree, how
long each step took, and the most memory used.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

GOLDEN_FOLDER = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN_FOLDER))
from cases import COFFEE_CASES, PHOTO_FOLDER, Case, mask_input  # noqa: E402

if TYPE_CHECKING:
    from ovseg.stages.prompts import Prompts

PHOTO = PHOTO_FOLDER / "coffee.jpg"
SIDE = 1024


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a step took, and the most memory the process has used so far."""
    started, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    print(f"{what}: {wall:.1f} s ({cpu:.1f} s of CPU), peak memory {after.ru_maxrss / 1e6:.1f} GB")


def record(variant: str, folder: Path) -> None:
    """In the environment with torch: Meta's state dict, embedding and answers."""
    import torch
    from make_golden import ask, build_seeded, provide_torchvision
    from PIL import Image

    provide_torchvision()
    from segment_anything import SamPredictor

    folder.mkdir(parents=True, exist_ok=True)
    with timed("build with seeded weights"):
        network = build_seeded(variant)
    with timed("save the state dict"):
        torch.save(network.state_dict(), folder / f"{variant}.pth")
    predictor = SamPredictor(network)
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    for attempt in ("first", "second"):
        with timed(f"Meta's encoder, {attempt} run"):
            predictor.set_image(photo)
    arrays = {"embedding": predictor.get_image_embedding().numpy()}
    for case in COFFEE_CASES:
        _, scores, logits = ask(predictor, case)
        arrays[f"{case.name}.low_res_logits"] = logits
        arrays[f"{case.name}.iou_predictions"] = scores
    np.savez(folder / f"{variant}.npz", **arrays)


def compare(variant: str, folder: Path) -> None:
    """In the serving environment: import, encode, decode, compare."""
    from ovseg.checkpoints.importing import import_checkpoint
    from ovseg.engines.paddle_inference import PaddleEngine
    from ovseg.stages.image import decode_image, resize_longest_side
    from ovseg.stages.prompt_decoder import SamPromptDecoder

    with timed("import"):
        import_checkpoint(folder / f"{variant}.pth", variant, folder / "models", progress=print)
    answers = np.load(folder / f"{variant}.npz")
    photo = decode_image(PHOTO.read_bytes(), max_pixels=10**7)
    pixels, input_size = resize_longest_side(photo, SIDE)
    with timed("load the encoder"):
        engine = PaddleEngine(folder / "models" / variant / "encoder", threads=2)
    for attempt in ("first", "second"):
        with timed(f"our encoder, {attempt} run"):
            (embedding,) = engine.run(
                pixels=pixels[None], input_size=np.array([input_size], np.int32)
            )
    difference = np.abs(embedding.transpose(0, 3, 1, 2) - answers["embedding"]).max()
    print(f"embedding: differs by {difference:.1e} at most")
    decoder = SamPromptDecoder(
        *(
            PaddleEngine(folder / "models" / variant / program, threads=2)
            for program in ("prompt_decoder", "mask_encoder")
        )
    )
    for case in COFFEE_CASES:
        logits, scores = decoder.decode(
            embedding,
            case_prompts(case).scaled(photo.shape[:2], SIDE),
            mask_input()[None] if case.has_mask_input else None,
            case.multimask,
        )
        expected = answers[f"{case.name}.low_res_logits"]
        ours, theirs = logits[0] > 0, expected > 0
        score_difference = np.abs(scores[0] - answers[f"{case.name}.iou_predictions"]).max()
        print(
            f"{case.name}: logits differ by {np.abs(logits[0] - expected).max():.1e}, predicted "
            f"IoU by {score_difference:.1e} at most; "
            f"low-resolution masks IoU {(ours & theirs).sum() / (ours | theirs).sum():.6f}"
        )


def case_prompts(case: Case) -> Prompts:
    """A case as the stages' prompts: points, then the corners of the box."""
    from ovseg.stages.prompts import BOTTOM_RIGHT, TOP_LEFT, Prompts

    corners = [case.box[:2], case.box[2:]] if case.box else []
    labels = [*case.labels, *([TOP_LEFT, BOTTOM_RIGHT] if case.box else [])]
    return Prompts(np.array([[*case.points, *corners]], np.float32), np.array([labels], np.int32))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("record", "compare"))
    parser.add_argument("variant", choices=("sam_vit_h", "sam_vit_l", "sam_vit_b", "sam_tiny"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    steps = {"record": record, "compare": compare}
    steps[arguments.step](arguments.variant, arguments.folder)


if __name__ == "__main__":
    main()
