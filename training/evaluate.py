"""Measure exported weights on held-out composites, and draw their masks on held-out photographs.

The composites use only the emoji and the photographs that training never saw. The table gives the
mean IoU for a jittered box, one random point (the default mask, and the best of three by predicted
quality), and three clicks, each after the first in the middle of the largest error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import Array, Library, make_scene
from encoder import MiniImageEncoder
from model import SamMini, normalise
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

SIZE = 512
Prompt = tuple[str, tuple[int, ...]]  # ("box", (x0, y0, x1, y1)) or ("point", (x, y)), in pixels
PHOTOS: dict[str, list[Prompt]] = {
    "coffee": [
        ("box", (75, 15, 478, 385)),
        ("box", (172, 18, 405, 205)),
        ("box", (320, 230, 408, 330)),
        ("point", (190, 170)),
    ],
    "chelsea": [("box", (5, 0, 380, 299)), ("box", (130, 82, 205, 150)), ("point", (215, 110))],
    "astronaut": [
        ("box", (150, 12, 300, 150)),
        ("box", (275, 345, 510, 511)),
        ("box", (130, 345, 212, 425)),
        ("box", (20, 12, 370, 511)),
        ("box", (345, 10, 465, 290)),
        ("point", (170, 385)),
    ],
    "rocket": [("box", (300, 125, 340, 410)), ("point", (320, 250))],
    "china": [("box", (65, 28, 355, 420)), ("point", (200, 200))],
    "flower": [("box", (172, 82, 446, 360)), ("point", (310, 230)), ("point", (400, 180))],
}
COLOURS = ((255, 120, 30), (40, 200, 60), (60, 140, 255))


def load_exported(path: Path) -> SamMini:
    """The model as it is served: folded encoder, weights from the file."""
    model = SamMini(SIZE)
    model.image_encoder = MiniImageEncoder(folded=True)
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model.eval()


def centre_of_error(wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """(x, y) of the pixel of a mask [H, W] that lies farthest from its outline."""
    distance = cv2.distanceTransform(np.pad(wrong, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(x), float(y)


def overlap(logits: Tensor, truth: NDArray[np.bool_]) -> float:
    """IoU of mask logits [256, 256], upsampled as they are when served, with [512, 512]."""
    guess = upsampled(logits) > 0
    return float((guess & truth).sum() / max(1, (guess | truth).sum()))


def upsampled(logits: Tensor) -> NDArray[np.float32]:
    """[256, 256] -> [512, 512]."""
    return cv2.resize(logits.numpy(), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def predict(
    model: SamMini, embedding: Tensor, points: list, kinds: list, masks: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One prompt of points in 512-pixel coordinates -> logits [4, 256, 256], quality [4]."""
    if max(kinds) < 2:  # Meta's padding for prompts without a box
        points, kinds = [*points, (0, 0)], [*kinds, -1]
    coords = (torch.tensor([points], dtype=torch.float32) + 0.5) / SIZE
    logits, quality = model.decode(embedding, model.sparse(coords, torch.tensor(kinds)), masks)
    return logits[0], quality[0]


def score(model: SamMini, library: Library, scenes: int, seed: int) -> dict[str, list[float]]:
    """IoUs over the objects of so many scenes, at most three of each."""
    rng = np.random.default_rng(seed)
    names = ("box", "1 point", "1 point, best of 3 by score", "3 clicks")
    result: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(scenes):
        image, labels = make_scene(rng, library, SIZE)
        embedding = model.image_encoder(normalise(image[None]))
        areas = np.bincount(labels.ravel(), minlength=2)[1:]
        for chosen in rng.permutation(1 + np.flatnonzero(areas > 0.003 * SIZE * SIZE))[:3]:
            truth = labels == chosen
            xs, ys = np.flatnonzero(truth.any(0)), np.flatnonzero(truth.any(1))
            box = np.array([[xs[0], ys[0]], [xs[-1], ys[-1]]], np.float32)
            box += np.clip(rng.normal(0, 0.05, (2, 2)), -0.1, 0.1) * (box[1] - box[0])
            logits, _ = predict(model, embedding, [tuple(c) for c in box], [2, 3], None)
            result["box"].append(overlap(logits[0], truth))
            flat = np.flatnonzero(truth)
            y, x = divmod(int(flat[rng.integers(len(flat))]), SIZE)
            points, kinds = [(x, y)], [1]
            logits, quality = predict(model, embedding, points, kinds, None)
            result["1 point"].append(overlap(logits[0], truth))
            result[names[2]].append(overlap(logits[1 + int(quality[1:].argmax())], truth))
            for _ in range(2):
                wrong = (upsampled(logits[0]) > 0) != truth
                x, y = centre_of_error(wrong if wrong.any() else truth)
                points, kinds = [*points, (x, y)], [*kinds, int(truth[int(y), int(x)])]
                logits, _ = predict(model, embedding, points, kinds, logits[None, :1])
            result["3 clicks"].append(overlap(logits[0], truth))
    return result


def prepare(image: Array) -> tuple[Tensor, float]:
    """[H, W, 3] -> normalised pixels [1, 3, 512, 512], zero padded, and the scale applied."""
    scale = SIZE / max(image.shape[:2])
    height, width = (round(side * scale) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    pixels = torch.zeros(1, 3, SIZE, SIZE)
    pixels[:, :, :height, :width] = normalise(small[None])
    return pixels, scale


def draw(model: SamMini, image: Array, prompts: list[Prompt]) -> Array:
    """One panel per prompt, side by side: the mask in colour, the prompt in white."""
    pixels, scale = prepare(image)
    embedding = model.image_encoder(pixels)
    panels = []
    for (kind, values), colour in zip(prompts, COLOURS * 9, strict=False):
        points = [tuple(v * scale for v in values[i : i + 2]) for i in range(0, len(values), 2)]
        kinds = [2, 3] if kind == "box" else [1]
        logits, quality = predict(model, embedding, points, kinds, None)
        full = cv2.resize(upsampled(logits[0]), None, fx=1 / scale, fy=1 / scale)
        mask = np.zeros(image.shape[:2], bool)
        full = full[: mask.shape[0], : mask.shape[1]] > 0
        mask[: full.shape[0], : full.shape[1]] = full
        panel = image.copy()
        panel[mask] = (0.4 * panel[mask] + 0.6 * np.array(colour)).astype(np.uint8)
        if kind == "box":
            cv2.rectangle(panel, values[:2], values[2:], (255, 255, 255), 2)
        else:
            cv2.circle(panel, values, 6, (255, 255, 255), -1)
        cv2.putText(panel, f"{quality[0]:.2f}", (6, 22), 0, 0.7, (255, 255, 255), 2)
        panels.append(panel)
    return np.hstack(panels)


def main() -> None:
    """Read the arguments, print the table, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--weights", type=Path, default=Path("weights/sam_mini.safetensors"))
    add("--emoji", type=Path, required=True, help="folder of the emoji .webp files")
    add("--photos", type=Path, nargs="+", required=True, help="folders of held-out photographs")
    add("--cache", type=Path, default=Path("/work/tmp/train_run/cache"))
    add("--pictures", type=Path, default=Path("/work/tmp/train_run/pictures"))
    add("--scenes", type=int, default=60)
    add("--seed", type=int, default=1234)
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = {p.stem: p for d in args.photos for p in d.iterdir() if p.stem in PHOTOS}
    images = {k: cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for k, p in files.items()}
    model = load_exported(args.weights)
    with torch.inference_mode():
        if args.scenes:
            library = Library(args.emoji, [], args.cache, held_out=True)
            library.photos = list(images.values())
            result = score(model, library, args.scenes, args.seed)
            print(f"| prompt | mean IoU | median | above 0.7 | objects |\n|{' --- |' * 5}")
            for name, values in result.items():
                good = np.mean(np.array(values) > 0.7)
                middle = f"{np.mean(values):.3f} | {np.median(values):.3f} | {good:.0%}"
                print(f"| {name} | {middle} | {len(values)} |")
        args.pictures.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            picture = cv2.cvtColor(draw(model, image, PHOTOS[name]), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(args.pictures / f"{name}.png"), picture)
            print(args.pictures / f"{name}.png")


if __name__ == "__main__":
    main()
