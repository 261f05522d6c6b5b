"""How fast the prompt decoder is, by engine and number of prompts, and whether its masks hold.

    python loadtest/decoder_speed.py models/sam_mini

Engines take turns, run by run, so that whatever else the machine does falls on all of them alike.
Masks are compared with Paddle's in float32, on a photo. "many prompts" decodes with the image's
terms (`ovseg/network/low_rank_cells.py`), whose own time is told once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.bench.arithmetic import gemm_peak
from ovseg.checkpoints.mask_agreement import agreement
from ovseg.engines import Engine
from ovseg.engines.openvino import OpenVinoEngine, cpu_has_bf16
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.manifest import ModelManifest
from ovseg.settings import EXAMPLE_PHOTO, available_cpus
from ovseg.stages.image import decode_image, resize_longest_side
from ovseg.stages.many_prompts import ManyPromptsDecoder, load_many_prompts_decoder
from ovseg.stages.prompt_decoder import LOW_RES_SIDE
from ovseg.stages.prompts import Prompts

Floats = NDArray[np.float32]
Decode = Callable[[Floats, Floats], Floats]
"""(embedding, boxes [N, 2, 2]) -> low-res masks [N, 256, 256]"""

# Multiplications and additions for a prompt of 7 tokens in SAM's size (4096 cells of 256
# channels, tokens in 8 heads, 2 of them in the last attention), by arithmetic.
_CELLS, _CHANNELS, _COLUMNS = 4096, 256, 7 * 8
_UPSCALING = 4 * 64 * 128 + 16 * 32  # 32 channels of each pixel's four, and their product
GIGAFLOPS_PER_PROMPT = (
    2e-9
    * _CELLS
    * (
        8 * _CHANNELS * _COLUMNS  # two layers, to the cells and back, scores and values
        + 2 * _CHANNELS * 2 * 8  # the last attention
        + _CHANNELS * _CHANNELS  # upscaling: 4 x 64 channels
        + _UPSCALING
    )
)
# With terms: heads of 16 channels meet their tokens, and rows of one layer or two each other.
_ROWS = _COLUMNS + 1
GIGAFLOPS_WITH_TERMS = (
    2e-9
    * _CELLS
    * (
        11 * 16 * _COLUMNS  # two layers: scores of image and positions, values, lengths
        + 3 * _ROWS * _COLUMNS  # the second one's scores and values of the rows
        + _ROWS**2  # lengths, first layer
        + (2 * _ROWS) ** 2  # and second
        + 16 * 3 * 16  # the last attention
        + 2 * 2 * _ROWS * 16
        + 2 * _ROWS * _CHANNELS  # upscaling
        + _UPSCALING
    )
)


def decode(engine: Engine, embedding: Floats, boxes: Floats, per_run: int) -> Floats:
    """Single masks, a few prompts at a time."""
    labels = np.tile(np.array([[2, 3]], np.int32), (len(boxes), 1))
    masks = [
        engine.run(
            embedding=embedding,
            point_coords=boxes[start : start + per_run],
            point_labels=labels[start : start + per_run],
            mask_index=np.zeros(1, np.int32),
        )[0]
        for start in range(0, len(boxes), per_run)
    ]
    return np.concatenate(masks)[:, 0]


def decode_many(many: ManyPromptsDecoder, embedding: Floats, boxes: Floats) -> Floats:
    """The same with the image's terms, computed unless it is the image of the last call."""
    prompts = Prompts(boxes, np.tile(np.array([[2, 3]], np.int32), (len(boxes), 1)))
    parts = many.decode(embedding, prompts, np.zeros(1, np.int32))
    return np.concatenate([masks for _, masks, _ in parts])[:, 0]


def embed(model: Path, photo: Path, threads: int) -> Floats:
    """The photo's embedding, by Paddle in float32."""
    pixels, size = resize_longest_side(
        decode_image(photo.read_bytes(), 10**8), ModelManifest.load(model).input_size
    )
    encoder = PaddleEngine(model / "encoder", threads)
    (embedding,) = encoder.run(pixels=pixels[None], input_size=np.array([size], np.int32))
    return np.asarray(embedding, np.float32)


def random_boxes(count: int, side: int) -> Floats:
    """Boxes of a tenth to half of the image: float32 [N, 2, 2]."""
    random = np.random.default_rng(0)
    corner = random.uniform(0, 0.5, (count, 1, 2))
    size = random.uniform(0.1, 0.5, (count, 1, 2))
    return np.asarray(np.concatenate([corner, corner + size], axis=1) * side, np.float32)


def compared(masks: Floats, expected: Floats) -> str:
    """Lowest and mean IoU, and the largest difference of logits as a share of the largest one."""
    ious = agreement(masks[:, None], expected[:, None], (LOW_RES_SIDE, LOW_RES_SIDE))
    difference = np.abs(masks - expected).max() / np.abs(expected).max()
    return f"{min(ious):.5f} | {np.mean(ious):.5f} | {difference:.1e}"


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the wall, and of the CPU in all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path, help="folder of an installed model")
    parser.add_argument("--photo", type=Path, default=EXAMPLE_PHOTO)
    parser.add_argument("--prompts", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--per-run", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--no-paddle", action="store_true", help="leave out the slow engine")
    chosen = parser.parse_args()

    threads, program = chosen.threads, chosen.model / "prompt_decoder"
    embedding = embed(chosen.model, chosen.photo, threads)
    reference = PaddleEngine(program, threads)
    openvino = OpenVinoEngine(program, threads, "fp32")
    contestants: dict[str, Decode] = {}
    if not chosen.no_paddle:
        contestants["paddle fp32, 4 a run"] = partial(decode, reference, per_run=4)
    for per_run in chosen.per_run:
        contestants[f"openvino fp32, {per_run} a run"] = partial(decode, openvino, per_run=per_run)
    many = load_many_prompts_decoder(chosen.model, threads)
    contestants["many prompts"] = partial(decode_many, many)
    if cpu_has_bf16():
        bf16 = OpenVinoEngine(program, threads, "bf16")
        for per_run in chosen.per_run:
            contestants[f"openvino bf16, {per_run} a run"] = partial(decode, bf16, per_run=per_run)

    peak = gemm_peak("fp32", threads) / 1e9
    print(f"fp32 GEMM peak {peak:.0f} GFLOP/s; {GIGAFLOPS_PER_PROMPT:.2f} GFLOP a prompt, ", end="")
    print(f"{GIGAFLOPS_WITH_TERMS:.2f} with terms\n")
    terms = OpenVinoEngine(chosen.model / "image_terms", threads, "fp32", shares_outputs=True)
    times_of_terms = [timed(partial(terms.run, embedding=embedding))[0] for _ in range(9)][1:]
    print(f"an image's terms: {1e3 * statistics.median(times_of_terms):.1f} ms\n")
    print("| prompts | engine | ms | (min-max) | CPU ms | ms a prompt | GFLOP/s | of peak |")
    print("|---|---|---|---|---|---|---|---|")
    side = ModelManifest.load(chosen.model).input_size
    for count in chosen.prompts:
        boxes = random_boxes(count, side)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for run in contestants.values():
            run(embedding, boxes)  # memory grows, kernels are made
        for _ in range(chosen.repeats):
            for name, run in contestants.items():
                times[name].append(timed(partial(run, embedding, boxes)))
        for name, pairs in times.items():
            wall = [1e3 * pair[0] for pair in pairs]
            median = statistics.median(wall)
            arithmetic = GIGAFLOPS_WITH_TERMS if "many" in name else GIGAFLOPS_PER_PROMPT
            gigaflops = arithmetic * count / median * 1e3
            speed = f"{gigaflops:.0f} | {gigaflops / peak:.0%}"
            cpu = 1e3 * statistics.median(pair[1] for pair in pairs)
            print(
                f"| {count} | {name} | {median:.1f} | {min(wall):.1f}-{max(wall):.1f} | {cpu:.0f} "
                f"| {median / count:.1f} | {speed} |"
            )

    boxes = random_boxes(32, side)
    expected = decode(reference, embedding, boxes, 4)
    print("\n| masks of 32 boxes against paddle fp32 | IoU min | IoU mean | logits differ by |")
    print("|---|---|---|---|")
    for name, run in contestants.items():
        print(f"| {name} | {compared(run(embedding, boxes), expected)} |")
    halved = embedding.astype(np.float16).astype(np.float32)
    print(f"| embedding in fp16 | {compared(decode(reference, halved, boxes, 4), expected)} |")


if __name__ == "__main__":
    main()
