"""Measure exported weights on what training never saw, and draw their masks.

Two sets: composites of another emoji family over the evaluation photographs, and the objects that
were outlined by hand on these photographs. Of each object: the mask for a box, for one click (the
single mask, and the best of three by predicted IoU), and after three clicks, the second and third
in the middle of the largest error. Masks are compared at the size that the picture has.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import Array, Library, composite
from encoder import MiniImageEncoder
from grabcut import grabcut_mask
from model import SamMini, normalise
from numpy.typing import NDArray
from photo_objects import PhotoObject, load_photographs
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

SIZE = 512
LOW_RES = 256
BOX, CLICK = [2, 3], 1
COLOURS = ((255, 120, 30), (40, 200, 60), (60, 140, 255), (230, 60, 180), (240, 210, 40))


@dataclass
class Scores:
    """IoUs of one object; `predicted` and `true` are those of its one-click masks and its box."""

    name: str
    box: float
    click: float
    click_by_score: float
    click_best: float
    three_clicks: float
    predicted: list[float]
    true: list[float]
    grabcut: float | None = None


def load_exported(path: Path) -> SamMini:
    """The model as it is served: folded encoder, weights from the file."""
    model = SamMini(SIZE)
    model.image_encoder = MiniImageEncoder(folded=True)
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model.eval()


class Predictor:
    """The model with the embedding of one picture.

    Args:
        image: uint8 RGB [H, W, 3], resized and padded as SAM does.
    """

    def __init__(self, model: SamMini, image: Array) -> None:
        self.model, self.shape = model, image.shape[:2]
        self.scale = SIZE / max(self.shape)
        height, width = (int(side * self.scale + 0.5) for side in self.shape)
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.zeros(1, 3, SIZE, SIZE)
        pixels[:, :, :height, :width] = normalise(np.array(small)[None])
        self.input_size = height, width
        self.embedding = model.image_encoder(pixels)

    def predict(
        self, points: list, labels: list[int], earlier: Tensor | None = None
    ) -> tuple[Tensor, list[float]]:
        """Points (x, y) of the picture -> logits [4, 256, 256] and their predicted IoU."""
        if max(labels) < 2:  # Meta's padding for prompts without a box
            points, labels = [*points, (0, 0)], [*labels, -1]
        coords = (torch.tensor([points], dtype=torch.float32) * self.scale + 0.5) / SIZE
        sparse = self.model.sparse(coords, torch.tensor(labels))
        logits, quality = self.model.decode(self.embedding, sparse, earlier)
        return logits[0], quality[0].tolist()

    def mask(self, logits: Tensor) -> NDArray[np.bool_]:
        """Logits [256, 256] -> mask [H, W], as SAM upsamples: to 512, crop, to the picture."""
        full = cv2.resize(logits.numpy(), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        full = full[: self.input_size[0], : self.input_size[1]]
        return cv2.resize(full, self.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 0 for two empty masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def centre(area: NDArray[np.bool_]) -> tuple[int, int]:
    """(x, y) of the pixel that lies farthest from the outline of an area [H, W]."""
    distance = cv2.distanceTransform(np.pad(area, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x), int(y)


def score(
    predictor: Predictor, name: str, truth: NDArray[np.bool_], box: list, click: tuple[int, int]
) -> Scores:
    """The scores of one object [H, W], given its box (two corners) and its first click."""
    logits, quality = predictor.predict(box, BOX)
    boxed = iou(predictor.mask(logits[0]), truth)
    points, labels = [click], [CLICK]
    logits, qualities = predictor.predict(points, labels)
    ious = [iou(predictor.mask(one), truth) for one in logits]
    by_score = ious[1 + int(np.argmax(qualities[1:]))]
    current = logits[:1]
    for _ in range(2):
        guess = predictor.mask(current[0])
        x, y = centre(guess != truth if (guess != truth).any() else truth)
        points, labels = [*points, (x, y)], [*labels, int(truth[y, x])]
        current = predictor.predict(points, labels, current[None])[0][:1]
    return Scores(
        name, boxed, ious[0], by_score, max(ious[1:]), iou(predictor.mask(current[0]), truth),
        [quality[0], *qualities], [boxed, *ious],
    )  # fmt: skip


def score_composites(model: SamMini, library: Library, scenes: int, seed: int) -> list[Scores]:
    """At most three objects of each of so many scenes; boxes jittered by 5 %, clicks anywhere."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(scenes):
        image, maps = composite(rng, library, SIZE)
        labels = maps[:, :, 0]
        predictor = Predictor(model, image)
        areas = np.bincount(labels.ravel(), minlength=2)[1:]
        for chosen in rng.permutation(1 + np.flatnonzero(areas > 0.003 * SIZE * SIZE))[:3]:
            truth = labels == chosen
            xs, ys = np.flatnonzero(truth.any(0)), np.flatnonzero(truth.any(1))
            box = np.array([[xs[0], ys[0]], [xs[-1], ys[-1]]], np.float32)
            box += np.clip(rng.normal(0, 0.05, (2, 2)), -0.1, 0.1) * (box[1] - box[0])
            flat = np.flatnonzero(truth)
            y, x = divmod(int(flat[rng.integers(len(flat))]), SIZE)
            result.append(score(predictor, f"{index}/{chosen}", truth, box.tolist(), (x, y)))
    return result


def score_photographs(model: SamMini, folders: list[Path], with_grabcut: bool) -> list[Scores]:
    """Every outlined object, with its exact box and the click stored with it."""
    result = []
    for photo in load_photographs(folders):
        predictor = Predictor(model, photo.image)
        for item in photo.objects:
            x0, y0, x1, y1 = item.box
            truth = item.mask() > 0
            name = f"{photo.name}: {item.name}"
            scores = score(predictor, name, truth, [(x0, y0), (x1, y1)], item.point)
            if with_grabcut:
                scores.grabcut = iou(grabcut_mask(photo.image, item.box) > 0, truth)
            result.append(scores)
    return result


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's: the correlation of the ranks."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(ranks)[0, 1])


def table(scores: list[Scores]) -> str:
    """Means as a Markdown table, and how well the predicted IoU tells good masks from bad ones."""
    rows = [("box", "box"), ("one click", "click"), ("one click, best of three by score",
            "click_by_score"), ("one click, best of three", "click_best"),
            ("three clicks", "three_clicks")]  # fmt: skip
    if scores[0].grabcut is not None:
        rows.insert(1, ("box, OpenCV grabCut", "grabcut"))
    lines = [
        "| prompt | mean IoU | median | above 0.8 | objects |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, field in rows:
        values = np.array([getattr(one, field) for one in scores])
        good = f"{np.mean(values > 0.8):.0%} | {len(values)} |"
        lines.append(f"| {title} | {values.mean():.3f} | {np.median(values):.3f} | {good}")
    predicted = [v for one in scores for v in one.predicted]
    true = [v for one in scores for v in one.true]
    lines.append(
        f"\nRank correlation of predicted and true IoU: {rank_correlation(predicted, true):.2f}"
    )
    return "\n".join(lines)


def each(scores: list[Scores]) -> str:
    """One row per object."""
    lines = [
        "| object | box | grabCut | one click | three clicks |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in scores:
        numbers = (one.box, one.grabcut or 0.0, one.click, one.three_clicks)
        lines.append(f"| {one.name} | " + " | ".join(f"{v:.2f}" for v in numbers) + " |")
    return "\n".join(lines)


def draw(predictor: Predictor, image: Array, objects: tuple[PhotoObject, ...], kind: str) -> Array:
    """The picture with the masks for each object's box or click, and these prompts in white."""
    panel = image.copy()
    for item, colour in zip(objects, COLOURS * 9, strict=False):
        x0, y0, x1, y1 = item.box
        points = [(x0, y0), (x1, y1)] if kind == "box" else [item.point]
        logits, _ = predictor.predict(points, BOX if kind == "box" else [CLICK])
        mask = predictor.mask(logits[0])
        panel[mask] = (0.5 * panel[mask] + 0.5 * np.array(colour)).astype(np.uint8)
    for item in objects:
        if kind == "box":
            cv2.rectangle(panel, item.box[:2], item.box[2:], (255, 255, 255), 2)
        else:
            cv2.circle(panel, item.point, 6, (255, 255, 255), -1)
    return panel


def main() -> None:
    """Read the arguments, print the tables, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--weights", type=Path, default=Path("../weights/sam_mini.safetensors"))
    add("--emoji", type=Path, help="the family not trained on, see cutouts.py; none: no composites")
    add("--photographs", type=Path, required=True, help="folder made by get_photographs.py")
    add("--cache", type=Path, default=Path("cache"), help="where decoded cut-outs are kept")
    add("--pictures", type=Path, help="folder for pictures of the masks")
    add("--scenes", type=int, default=100)
    add("--seed", type=int, default=1234)
    add("--no-grabcut", action="store_true")
    add("--json", type=Path, help="file for the scores of every object")
    args = parser.parse_args()
    model = load_exported(args.weights)
    results: dict[str, list[Scores]] = {}
    with torch.inference_mode():
        if args.emoji:
            library = Library([args.emoji], [], args.cache)
            library.photos = [photo.image for photo in load_photographs([args.photographs])]
            results["composites"] = score_composites(model, library, args.scenes, args.seed)
            print(f"Held-out composites\n\n{table(results['composites'])}\n", flush=True)
        results["photographs"] = score_photographs(model, [args.photographs], not args.no_grabcut)
        print(f"Photographs\n\n{table(results['photographs'])}\n\n{each(results['photographs'])}")
        if args.json:
            plain = {k: [asdict(one) for one in v] for k, v in results.items()}
            args.json.write_text(json.dumps(plain, indent=1))
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            for photo in load_photographs([args.photographs]):
                predictor = Predictor(model, photo.image)
                for kind in ("box", "click"):
                    picture = draw(predictor, photo.image, photo.objects, kind)
                    path = args.pictures / f"{photo.name}_{kind}.png"
                    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
