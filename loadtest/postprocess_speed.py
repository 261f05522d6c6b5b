"""How long masks take from low-res logits to RLE text, and a picture from masks to JPEG.

    python loadtest/postprocess_speed.py [LOGITS.npy]

Beside it, in turns: Paddle's two steps and pycocotools, which PaddleX runs, whose counts must be
the same. LOGITS.npy holds float32 [N, 256, 256]; without it, smooth random blobs are used.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import paddle
import psutil
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovseg.settings import PROJECT_ROOT
from ovseg.stages.image import decode_image, input_size_of
from ovseg.stages.masks import low_res_masks_to_rle
from ovseg.stages.overlay import draw_best_masks, encode_jpeg
from ovseg.stages.prompts import Prompts

Floats = NDArray[np.float32]
SIDE = 1024
SIZES = [(750, 1000), (1500, 2000), (3000, 4000)]
PHOTO = PROJECT_ROOT / "tests" / "contract" / "data" / "images" / "base.jpg"


def two_steps(low_res: Floats, size: tuple[int, int]) -> bytes:
    """PaddleX's postprocess of one mask."""
    height, width = input_size_of(size, SIDE)
    interpolate = paddle.nn.functional.interpolate
    logits = interpolate(paddle.to_tensor(low_res[None, None]), (SIDE, SIDE), mode="bilinear")
    logits = interpolate(logits[..., :height, :width], size, mode="bilinear")
    mask = np.asfortranarray((logits > 0).numpy()[0, 0].view(np.uint8))
    counts: bytes = coco_mask.encode(mask)["counts"]
    return counts


def blobs(count: int) -> Floats:
    """Logits of smooth shapes of all sizes: float32 [N, 256, 256]."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    masks = []
    for _ in range(count):
        x, y, radius = random.uniform(40, 216), random.uniform(40, 216), random.uniform(10, 90)
        noise = cv2.GaussianBlur(random.standard_normal((256, 256)), (0, 0), 8)
        distance = np.hypot(columns - x, rows - y) / radius
        masks.append((8 * (1 - distance) + 12 * noise).astype(np.float32))
    return np.stack(masks)


def milliseconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def spread(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})"


def more_memory(run: Callable[[], Any]) -> float:
    """MB that the process grows by while something runs, looked at every millisecond."""
    process, done = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss
    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        highest = max(highest, process.memory_info().rss)
        done.wait(0.001)
    return float(highest - before) / 1e6


def measure_masks(logits: Floats) -> None:
    print("| image | masks | ms a mask (min-max) | Paddle's two steps | ratio | same counts |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        low_res_masks_to_rle(logits[:1, None], SIDE, size)
        ours, theirs, same = [], [], 0
        for low_res in logits[:24]:
            counts: list[bytes] = []
            answer = low_res[None, None]
            ours.append(
                milliseconds(
                    lambda a=answer, c=counts, s=size: c.append(
                        low_res_masks_to_rle(a, SIDE, s)[0, 0]
                    )
                )
            )
            theirs.append(
                milliseconds(lambda m=low_res, c=counts, s=size: c.append(two_steps(m, s)))
            )
            same += counts[0] == counts[1]
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(
            f"| {size[1]}x{size[0]} | {len(ours)} | {spread(ours)} | {spread(theirs)} "
            f"| {ratio:.1f} | {same} of {len(ours)} |"
        )
    many = np.resize(logits, (64, 256, 256))[:, None]
    memory = more_memory(lambda: low_res_masks_to_rle(many, SIDE, (3000, 4000)))
    print(f"\n64 masks on 4000x3000: {memory:.0f} MB more memory at most\n")


def measure_picture(logits: Floats) -> None:
    file = PHOTO.read_bytes()
    image = decode_image(file, 10**8)
    size = (image.shape[0], image.shape[1])
    counts = low_res_masks_to_rle(logits[:3, None], SIDE, size)
    boxes = Prompts(
        np.array([[[100, 100], [400, 400]]] * 3, np.float32), np.array([[2, 3]] * 3, np.int32)
    )
    scores = np.zeros((3, 1), np.float32)
    picture = draw_best_masks(image, counts, scores, boxes)
    parts: dict[str, Callable[[], Any]] = {
        "decode the image": lambda: decode_image(file, 10**8),
        "draw three masks": lambda: draw_best_masks(image, counts, scores, boxes),
        "encode the JPEG": lambda: encode_jpeg(picture, 85),
    }
    print(f"| picture of {size[1]}x{size[0]} | ms (min-max) |\n|---|---|")
    for name, part in parts.items():
        print(f"| {name} | {spread([milliseconds(part) for _ in range(40)])} |")


if __name__ == "__main__":
    low_res_logits = np.load(sys.argv[1]) if len(sys.argv) > 1 else blobs(48)
    measure_masks(low_res_logits)
    measure_picture(low_res_logits)
