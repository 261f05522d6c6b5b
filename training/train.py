"""Train `sam_mini`: dense objectives first, then prompts.

The plan is a list of phases, each for so many minutes at one image size. Every few minutes the run
writes `state.pt` (to resume) and `ema.pt` (averaged weights); at the end of phase N also
`ema_N.pt`, which `export.py` reads.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import Library
from encoder import load_imagenet
from model import MEAN, STD, SamMini, normalise
from objectives import DenseHead
from prompts import prompt_losses
from safetensors.torch import load_file
from scene_pool import ScenePool
from schedule import SCHEDULE, Phase, learning_rate, parse_phases
from torch import distributed, nn

# glibc would hand every large tensor back to the system and fault its pages in again
KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
}


BACKBONE_SHARE = 0.35  # of the learning rate, for the pretrained part


class Averaged:
    """Exponential moving average of every floating-point weight and buffer."""

    def __init__(self, module: nn.Module, decay: float = 0.995) -> None:
        self.decay, self.steps = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module) -> None:
        """Move a little towards the present weights, faster while the run is young."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (20 + self.steps))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)


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


def draw_scenes(args: argparse.Namespace, pool: str) -> None:
    """Body of a process that keeps one pool fresh."""
    outlined = tuple(args.outlined) if args.outlined else None
    library = Library(args.emoji, args.photos, args.out / "cache", outlined, with_parts=True)
    pause = args.pause if pool == "small" else 4 * args.pause
    open_pool(args, pool).fill_forever(library, args.seed, pause)


def save(path: Path, value: object) -> None:
    """Write atomically."""
    torch.save(value, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def train(args: argparse.Namespace, rank: int) -> None:
    """Body of one training process: run the phases, continuing where `state.pt` left off.

    Every process takes its own scenes; gradients are averaged before each step.
    """
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    store = f"file://{args.out / 'rendezvous'}"
    distributed.init_process_group("gloo", store, rank=rank, world_size=args.processes)
    model, head = SamMini(), DenseHead()
    both = nn.ModuleDict({"model": model, "head": head})
    averaged = Averaged(model)
    start_from(model, args)
    backbone = [p for part in model.image_encoder.backbone_modules() for p in part.parameters()]
    ids = {id(p) for p in backbone}
    others = [p for p in both.parameters() if id(p) not in ids]
    groups = [{"params": others, "share": 1.0}, {"params": backbone, "share": BACKBONE_SHARE}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.02, betas=(0.9, 0.98))
    place: dict[str, float] = {"phase": 0, "progress": 0.0, "step": 0, "spent": 0.0}
    state_path = args.out / "state.pt"
    if state_path.exists() and not args.restart:
        state = torch.load(state_path, weights_only=False)
        both.load_state_dict(state["both"])
        optimiser.load_state_dict(state["optimiser"])
        averaged.state, averaged.steps = state["averaged"], state["averaged_steps"]
        place = {key: state[key] for key in place}
    if args.from_phase is not None:
        place |= {"phase": args.from_phase, "progress": 0.0}
    step, began = int(place["step"]), time.monotonic() - place["spent"]
    rng = np.random.default_rng([args.seed, step, rank])

    for number, phase in enumerate(args.phases):
        if number < place["phase"]:
            continue
        progress = place["progress"] if number == place["phase"] else 0.0
        pool = open_pool(args, phase.pool)
        while int(pool.count[0]) < 64:
            time.sleep(1)
        set_mode(both, phase)
        phase_began = time.monotonic() - progress * phase.minutes * 60
        sums: dict[str, float] = {}
        count, last_save, tick = 0, time.monotonic(), time.monotonic()
        while progress < 1:
            rate = learning_rate(phase, progress)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
            pictures, label_maps = pool.sample(rng, phase.batch, phase.size)
            embedding = model.image_encoder(normalise(pictures))
            losses = head.losses(embedding, torch.from_numpy(label_maps[..., 0].copy()))
            loss = torch.stack([losses[k] for k in ("query", "edge", "outline", "inside")]).sum()
            if phase.prompts:
                passes = int(np.random.default_rng([args.seed, step]).choice(3, p=args.passes))
                prompt = prompt_losses(model, embedding, label_maps, rng, phase.prompts, passes)
                loss = args.dense_weight * loss + prompt["loss"]
                losses.update(prompt)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            progress = (time.monotonic() - phase_began) / (phase.minutes * 60)
            progress = average_gradients(both, progress, args.processes)
            norm = nn.utils.clip_grad_norm_(both.parameters(), 5.0)
            if bool(torch.isfinite(norm)):
                optimiser.step()
                averaged.update(model)
            step, count = step + 1, count + 1
            if rank > 0:
                continue
            for key, value in (losses | {"grad": norm}).items():
                sums[key] = sums.get(key, 0.0) + value.item()
            if count == args.every:
                row: dict[str, float] = {"step": step, "minutes": (time.monotonic() - began) / 60}
                row |= {"phase": number, "size": phase.size, "rate": rate}
                row["seconds_per_step"] = (time.monotonic() - tick) / count
                report(args.out / "log.csv", row | {k: v / count for k, v in sums.items()})
                sums, count, tick = {}, 0, time.monotonic()
            if time.monotonic() - last_save > 90 or progress >= 1:
                last_save = time.monotonic()
                now = {"phase": number, "progress": progress, "step": step}
                state = {"both": both.state_dict(), "optimiser": optimiser.state_dict()} | now
                state |= {"averaged": averaged.state, "averaged_steps": averaged.steps}
                save(state_path, state | {"spent": last_save - began})
                save(args.out / "ema.pt", averaged.state)
                if progress >= 1:
                    save(args.out / f"ema_{number}.pt", averaged.state)
    distributed.destroy_process_group()


def open_pool(args: argparse.Namespace, name: str) -> ScenePool:
    """'small': scenes of 256 pixels; 'large': an eighth as many of 512 pixels."""
    if name == "small":
        return ScenePool(args.out / "pool", 256, args.capacity)
    return ScenePool(args.out / "pool", 512, args.capacity // 8)


def set_mode(module: nn.ModuleDict, phase: Phase) -> None:
    """Training mode; with few large images, the batch statistics stay as they are.

    Those of the pretrained backbone always do.
    """
    module.train()
    for buffer in module.buffers():
        distributed.broadcast(buffer, 0)
    if phase.size > 256:
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
    encoder = module["model"].image_encoder
    for part in encoder.backbone_modules():
        part.eval()


def average_gradients(module: nn.Module, value: float, processes: int) -> float:
    """Average gradients over the processes; returns process 0's `value` to all of them."""
    parameters = list(module.parameters())
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    share = torch.tensor([value * processes if distributed.get_rank() == 0 else 0.0])
    flat = torch.cat([*(g.flatten() for g in grads), share])
    distributed.all_reduce(flat)
    flat /= processes
    for parameter, part in zip(
        parameters, flat[:-1].split([g.numel() for g in grads]), strict=True
    ):
        parameter.grad = part.view_as(parameter)
    return flat[-1].item()


COLUMNS = (
    "step", "minutes", "phase", "size", "rate", "seconds_per_step", "query", "query_iou", "edge",
    "outline", "inside", "loss", "iou_box", "iou_point", "iou_multi", "grad",
)  # fmt: skip


def report(path: Path, row: dict[str, float]) -> None:
    """Print a line and append it to the log."""
    cells = {k: f"{row[k]:.4g}" for k in COLUMNS if k in row}
    cells["step"] = str(row["step"])
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
    add("--emoji", type=Path, nargs="+", required=True, help="emoji sets, see cutouts.py")
    add(
        "--outlined",
        type=Path,
        nargs=2,
        help="outlines/objects.json and the folder of its pictures",
    )
    add("--imagenet", type=Path, help="ImageNet weights of EfficientNet-Lite2")
    add("--decoder", type=Path, help="an earlier sam_mini.safetensors to take the decoder from")
    add("--photos", type=Path, nargs="+", required=True, help="folders of training photographs")
    add("--out", type=Path, required=True, help="folder of the run")
    add("--phases", type=parse_phases, default=parse_phases(SCHEDULE))
    add("--from-phase", type=int, help="start this phase afresh with the saved weights")
    add("--restart", action="store_true", help="ignore a saved state")
    add("--capacity", type=int, default=6000, help="scenes in the pool")
    add("--pause", type=float, default=0.3, help="seconds between new scenes once it is full")
    add("--dense-weight", type=float, default=0.3, help="dense objectives while prompting")
    add("--seed", type=int, default=0)
    add("--processes", type=int, default=2, help="training processes, one batch each")
    add("--threads", type=int, default=1, help="threads of each")
    add("--passes", type=float, nargs=3, default=(0.65, 0.2, 0.15), help="odds of 0, 1, 2 clicks")
    add("--every", type=int, default=20, help="steps per log line")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "rendezvous").unlink(missing_ok=True)
    os.environ.update(KEEP_MEMORY)
    spawn = multiprocessing.get_context("spawn")
    drawers = [
        spawn.Process(target=draw_scenes, args=(args, name), daemon=True)
        for name in sorted({phase.pool for phase in args.phases[args.from_phase or 0 :]})
    ]
    trainers = [spawn.Process(target=train, args=(args, r)) for r in range(args.processes)]
    for process in (*drawers, *trainers):
        process.start()
    try:
        for trainer in trainers:
            trainer.join()
    finally:
        for process in (*drawers, *trainers):
            process.terminate()


if __name__ == "__main__":
    main()
