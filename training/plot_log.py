"""Draw `log.csv` of a run: the IoU of the training batches and the loss, against minutes."""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

SMOOTHING_ROWS = 3
CURVES = (
    ("iou_box", "box"),
    ("iou_point", "one click"),
    ("iou_best", "one click, best of three"),
    ("iou_2_more", "two corrections, parts too"),
)


def column(rows: list[dict[str, str]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and values of a column, where it has values, smoothed over a few rows."""
    filled = [row for row in rows if row.get(name)]
    minutes = np.array([float(row["minutes"]) for row in filled])
    values = np.array([float(row[name]) for row in filled])
    if len(values) >= SMOOTHING_ROWS:
        kernel = np.ones(SMOOTHING_ROWS) / SMOOTHING_ROWS
        minutes, values = (np.convolve(a, kernel, "valid") for a in (minutes, values))
    return minutes, values


def main() -> None:
    """Read the arguments, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, default=Path("log.csv"))
    parser.add_argument("--out", type=Path, default=Path("log.png"))
    args = parser.parse_args()
    with args.log.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    figure, (quality, loss) = plt.subplots(1, 2, figsize=(11, 4), dpi=100, layout="constrained")
    for name, title in CURVES:
        quality.plot(*column(rows, name), label=title)
    loss.plot(*column(rows, "loss"), color="tab:red", label="loss")
    loss.set_yscale("log")
    for axes, title in (
        (quality, "Training batches: IoU"),
        (loss, "Training batches: loss of a step"),
    ):
        for before, row in itertools.pairwise(rows):
            if row["phase"] != before["phase"]:
                axes.axvline(float(row["minutes"]), color="black", alpha=0.15)
        axes.set(title=title, xlabel="minutes on one GPU")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(args.out)


if __name__ == "__main__":
    main()
