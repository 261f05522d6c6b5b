"""Train `sam_mini` on one GPU (or, slowly, on CPUs).

The plan is a list of phases, each for so many minutes at one image size; the learning rate falls
once over all of them. Scenes are drawn by processes of their own; cropping, prompts, corrections
and losses happen on the device. Every minute and a half, and after each phase, the run writes its
averaged weights, in files of at most 16 MB; at the end it also writes `state.pt`, from which
another run may start.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from augment import crops
from composites import Library
from copies import Averaged, Shadow
from encoder import load_imagenet
from model import MEAN, STD, SamMini
from prompts import add_correction, correction_loss, draw_prompts, first_loss
from safetensors.torch import load_file
from scene_pool import ScenePool
from schedule import SCHEDULE, parse_phases, share_of_rate
from torch import Tensor, nn

SCENE_SIZE = 512
BACKBONE_SHARE = 0.3  # of the learning rate, for the pretrained part
LEAST_CROP = {256: 0.4, 512: 0.6}  # smallest side of a crop, of a scene, by image size
MASK_INPUT_SHARE = 0.65  # of the corrections
CLICKS = (0, 1, 2, 3, 5, 7)  # corrections after the first prompt, and how often so many
CLICK_ODDS = (0.3, 0.25, 0.25, 0.12, 0.05, 0.03)
CHUNK = 15_000_000  # bytes of a file of weights


def start_from(model: SamMini, args: argparse.Namespace) -> None:
    """ImageNet weights for the backbone, and an earlier model's prompt encoder and mask decoder."""
    if args.imagenet:
        mean, std = MEAN.flatten().tolist(), STD.flatten().tolist()
        load_imagenet(model.image_encoder, args.imagenet, mean, std)
    if args.decoder:
        earlier = load_file(args.decoder)
        parts = {k: v.float() for k, v in earlier.items() if not k.startswith("image_encoder.")}
        missing, unexpected = model.load_state_dict(parts, strict=False)
        assert not unexpected and all(k.startswith("image_encoder.") for k in missing)


def step_losses(
    model: SamMini, shadow: Shadow, pixels: Tensor, labels: Tensor, per: int, clicks: int
) -> dict[str, Tensor]:
    """Forward and backward of one batch; leaves the gradients, returns numbers to report.

    Each prompt round is taken back at once, down to the embedding, so that memory holds one.
    """
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
        embedding = model.image_encoder(pixels)
    kind = shadow.copies[0].dtype
    leaf = embedding.detach().to(kind).requires_grad_()
    with torch.no_grad():
        batch = draw_prompts(labels, per)
    points, kinds = batch.points, batch.kinds
    decoder = shadow.model
    logits, quality = decoder.decode(leaf, decoder.sparse(points, kinds), None)
    loss, result = first_loss(batch, logits, quality)
    loss.backward()
    total = loss.detach()
    for index in range(clicks):
        previous = logits[:, 0].detach()
        with torch.no_grad():
            points, kinds = add_correction(batch, points, kinds, previous)
        with_mask = np.random.random() < MASK_INPUT_SHARE
        mask_inputs = previous[:, None].clamp(-20, 20) if with_mask else None
        logits, quality = decoder.decode(leaf, decoder.sparse(points, kinds), mask_inputs)
        loss, iou = correction_loss(batch, logits, quality)
        loss = loss / (1 + 0.3 * index)
        loss.backward()
        total = total + loss.detach()
        if index < 2:
            result[f"iou_{index + 1}_more"] = iou
    embedding.backward(leaf.grad.to(embedding.dtype))
    shadow.hand_back()
    return result | {"loss": total}


def save_chunks(state: dict[str, Tensor], path: Path, kind: torch.dtype) -> None:
    """Write tensors as `path.0.pt`, `path.1.pt`, … of at most 16 MB."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in state.items():
        value = value.detach().to("cpu", kind if value.is_floating_point() else value.dtype)
        if size + value.nbytes > CHUNK:
            parts.append({})
            size = 0
        parts[-1][name] = value.clone()
        size += value.nbytes
    for number, part in enumerate(parts):
        target = path.with_name(f"{path.name}.{number}.pt")
        torch.save(part, target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)


def elapsed(args: argparse.Namespace) -> float:
    """Seconds since the launch."""
    return time.monotonic() - float(args.launched)


def train(args: argparse.Namespace, pool: ScenePool) -> None:
    """Run the phases."""
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it would plan anew for every number of tokens
    print(f"library after {elapsed(args):.1f} s", flush=True)
    model = SamMini()
    start_from(model, args)
    model.to(device)
    if device.type == "cuda":
        model.image_encoder.to(memory_format=torch.channels_last)
    state = None
    if args.resume and args.resume.exists():
        state = torch.load(args.resume, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    shadow, averaged = Shadow(model, kind), Averaged(model, args.decay)
    backbone = [p for part in model.image_encoder.backbone_modules() for p in part.parameters()]
    ids = {id(p) for p in backbone}
    others = [p for p in model.parameters() if id(p) not in ids and p.requires_grad]
    groups = [{"params": others, "share": 1.0}, {"params": backbone, "share": BACKBONE_SHARE}]
    optimiser = torch.optim.AdamW(
        groups, lr=args.rate, weight_decay=0.02, betas=(0.9, 0.98), fused=device.type == "cuda"
    )
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        averaged.state.update(state["averaged"])
        averaged.steps = state["steps"]
    pool.open(device, args.capacity)
    while pool.count < args.first_scenes:
        time.sleep(0.1)
    model.train()
    for part in model.image_encoder.backbone_modules():
        part.eval()  # the batch statistics of ImageNet stay
    for phase in args.phases:  # the first step of a kind loads and plans for many seconds
        with torch.no_grad():
            pixels, labels = crops(pool.sample(phase.batch), phase.size, 0.5)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        result = step_losses(model, shadow, pixels, labels, phase.prompts, 1)
        print(f"{phase.size}: {float(result['loss']):.2f} after {elapsed(args):.1f} s", flush=True)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    optimiser.step()
    ready = time.monotonic()
    print(f"ready after {elapsed(args):.1f} s with {pool.count} scenes", flush=True)

    minutes = sum(phase.minutes for phase in args.phases)
    if args.stop_at is not None:  # the phases share what the start has left
        left = (args.stop_at - elapsed(args)) / 60
        args.phases = [replace(p, minutes=p.minutes * left / minutes) for p in args.phases]
        minutes = left
    step, count, images, before = 0, 0, 0, 0.0
    last_row = last_save = time.monotonic()
    sums: dict[str, Tensor] = {}
    times: dict[str, int] = {}
    for number, phase in enumerate(args.phases):
        end = ready + 60 * (before + phase.minutes)
        while time.monotonic() < end:
            progress = (time.monotonic() - ready) / 60 / minutes
            for group in optimiser.param_groups:
                group["lr"] = args.rate * share_of_rate(progress) * group["share"]
            with torch.no_grad():
                scenes = pool.sample(phase.batch)
                pixels, labels = crops(scenes, phase.size, LEAST_CROP.get(phase.size, 0.5))
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            shadow.refresh()
            clicks = int(np.random.choice(CLICKS, p=CLICK_ODDS))
            optimiser.zero_grad(set_to_none=True)
            result = step_losses(model, shadow, pixels, labels, phase.prompts, clicks)
            result["grad"] = nn.utils.clip_grad_norm_(model.parameters(), 2.0, foreach=True)
            optimiser.step()
            averaged.update()
            step, count, images = step + 1, count + 1, images + phase.batch
            for key, value in result.items():
                sums[key] = sums.get(key, 0) + value.detach()
                times[key] = times.get(key, 0) + 1
            now = time.monotonic()
            if now - last_row > args.every:
                means = {k: float(v) / times[k] for k, v in sums.items()}
                row: dict[str, float] = {"step": step, "minutes": (now - ready) / 60}
                row |= {"phase": number, "size": phase.size, "images": images}
                row |= {"scenes": pool.count, "rate": optimiser.param_groups[0]["lr"]}
                row["seconds_per_step"] = (time.monotonic() - last_row) / count
                report(args.out / "log.csv", row | means)
                sums, times, count, last_row = {}, {}, 0, time.monotonic()
                if not np.isfinite(means["loss"]):
                    raise SystemExit("the loss is not finite")
            if now - last_save > args.save_every:
                save_chunks(averaged.state, args.out / "ema", torch.float32)
                last_save = time.monotonic()
        before += phase.minutes
        if number + 1 < len(args.phases):
            save_chunks(averaged.state, args.out / f"ema_{number}", torch.float16)
    save_chunks(averaged.state, args.out / "ema", torch.float32)
    if args.resume:
        now_state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(now_state | {"averaged": averaged.state, "steps": averaged.steps}, args.resume)
    if device.type == "cuda":
        print(f"GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)
    print(f"{step} steps, {images} images, {pool.count} scenes, {elapsed(args):.0f} s")


COLUMNS = (
    "step", "minutes", "phase", "size", "images", "scenes", "rate", "seconds_per_step", "loss",
    "iou_box", "iou_point", "iou_by_score", "iou_best", "iou_1_more", "iou_2_more", "grad",
)  # fmt: skip


def report(path: Path, row: dict[str, float]) -> None:
    """Print a line and append it to the log."""
    cells = {k: f"{row[k]:.4g}" for k in COLUMNS if k in row}
    cells |= {key: str(int(row[key])) for key in ("step", "images", "scenes")}
    print(" ".join(f"{k}={v}" for k, v in cells.items()), flush=True)
    fresh = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(cells)


def main() -> None:
    """Read the arguments, start the drawing processes, train, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--pack", type=Path, required=True, help="folder that pack.py wrote")
    add("--decoder", type=Path, help="an earlier sam_mini.safetensors to take the decoder from")
    add("--out", type=Path, required=True, help="folder of the run")
    add("--resume", type=Path, help="state file: read if it exists, written at the end")
    add("--phases", type=parse_phases, default=parse_phases(SCHEDULE))
    add("--rate", type=float, default=8e-4, help="peak learning rate")
    add("--decay", type=float, default=0.997, help="of the averaged weights")
    add("--capacity", type=int, default=12000, help="scenes in the pool")
    add("--first-scenes", type=int, default=600, help="scenes to wait for")
    add("--drawers", type=int, default=15, help="processes that draw scenes")
    add("--every", type=float, default=5, help="seconds per log line")
    add("--save-every", type=float, default=90, help="seconds between saved weights")
    add("--stop-at", type=float, help="stretch the phases to end so many seconds after the launch")
    add("--device", default="cuda" if Path("/dev/nvidia0").exists() else "cpu")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    args.launched = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    args.imagenet = args.pack / "imagenet.safetensors"
    cv2.setNumThreads(1)
    sets = [args.pack / "fluent-emoji-3d.zip"]
    sets += [path for path in sorted(args.pack.glob("*.zip")) if path not in sets]
    outlines = Path(__file__).parent / "outlines" / "objects.json"
    library = Library(
        sets, [args.pack / "photos"], args.out, (outlines, args.pack / "outlined"), with_parts=True
    )
    pool = ScenePool(library, args.drawers, SCENE_SIZE, args.seed)
    try:
        train(args, pool)
    finally:
        pool.close()
    os._exit(0)


if __name__ == "__main__":
    main()
