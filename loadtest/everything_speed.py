"""Everything in a photo: our server against Meta's generator, with the same weights, in turns.

    .venv/bin/python loadtest/everything_speed.py --reference .venv-reference/bin/python

`make test-reference` makes that environment (torch, segment-anything). Meta's generator runs in a
process of its own, in float32 with torch's usual number of threads, and is given pixels; ours gets
an image file that it has not seen, over REST. The time of both is from the image to the last mask.
Prints a document such as docs/benchmarks/everything.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
sys.path.append(str(FOLDER / "tests" / "golden"))
SAME_IOU = 0.9


def answer_as_meta() -> None:
    """In the environment with torch: photo and parameters in, seconds and masks out, in lines."""
    from make_golden import provide_torchvision
    from make_golden_everything import build_mini, make_generator, read_photo

    provide_torchvision()
    network = build_mini()
    print("ready", flush=True)
    for line in sys.stdin:
        photo, parameters = json.loads(line)
        generator, pixels = make_generator(network, **parameters), read_photo(Path(photo))
        started = time.perf_counter()
        found = generator.generate(pixels)
        seconds = time.perf_counter() - started
        print(json.dumps([seconds, [mask["segmentation"] for mask in found]]), flush=True)


class Meta:
    """Meta's generator in a process of its own."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--as-meta"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("Meta's generator did not start")
        return line

    def find(self, photo: Path, parameters: dict[str, float]) -> tuple[float, list[Any]]:
        """Seconds, and the masks in run-length encoding."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(photo), parameters]) + "\n")
        self._process.stdin.flush()
        seconds, masks = json.loads(self._read())
        return seconds, masks

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def shown(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--as-meta", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--reference", type=Path, help="Python with torch and segment-anything")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points-per-side", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.as_meta:
        answer_as_meta()
        return
    if arguments.reference is None:
        parser.error("--reference is needed")
    measure(arguments.reference, arguments.rounds, arguments.points_per_side)


def measure(reference: Path, rounds: int, points_per_side: int) -> None:
    """Ask both in turns, and print the table."""
    from everything_cases import EVERYTHING_CASES
    from ovseg_client import Client
    from pycocotools import mask as coco_mask

    from ovseg.bench.machine import describe_machine
    from ovseg.bench.workload import unseen
    from ovseg.server.service import running_service

    rows = []
    meta = Meta(reference)
    try:
        with (
            running_service({"OVSEG_MODEL": "sam_mini"}) as service,
            Client(service.base_url, timeout=600) as client,
        ):
            for case in EVERYTHING_CASES:
                parameters = {**case.parameters, "points_per_side": points_per_side}
                theirs_s, ours_s, same, of_all = [], [], 0, 0
                for number in range(rounds + 1):  # The first is not counted.
                    seconds, theirs = meta.find(case.photo, parameters)
                    file = unseen(case.photo.read_bytes())
                    started = time.perf_counter()
                    ours = client.everything(file, **parameters)  # type: ignore[arg-type]
                    if number:
                        ours_s.append(time.perf_counter() - started)
                        theirs_s.append(seconds)
                    for mask in theirs:
                        mask["counts"] = mask["counts"].encode()
                    ious = coco_mask.iou(ours.flat_rles, theirs, [0] * len(theirs))
                    same = int((ious.max(axis=0) >= SAME_IOU).sum())
                    of_all = int((ious.max(axis=1) >= SAME_IOU).sum())
                ratios = [m / o for m, o in zip(theirs_s, ours_s, strict=True)]
                rows.append(
                    f"| {case.photo.name} | {parameters.get('crop_n_layers', 0)} "
                    f"| {shown(theirs_s)} | {shown(ours_s)} | **{shown(ratios)}** "
                    f"| {same} of {len(theirs)} | {of_all} of {len(ours.rles)} |"
                )
    finally:
        meta.close()
    print("\n".join(f"- {name}: {value}" for name, value in describe_machine().items()))
    print(
        f"\n{points_per_side} points a side, `sam_mini`, {rounds} rounds in turns after one that "
        "is not counted; median (range).\n"
    )
    print(
        "| photo | crop layers | Meta's generator, s | our server, s | times faster |"
        " Meta's masks that we have | ours that Meta has |"
    )
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
