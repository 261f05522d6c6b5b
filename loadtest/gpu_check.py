"""What the encoders take on a GPU: TensorRT plans, checked, beside PyTorch; see gpu_check.sh.

Each part may be missing on a machine: its reason is in the report. The report is written anew after
every part, so that one that is stopped leaves what it found.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (1, 2, 4, 8)
RUNS, WARM_UPS = 20, 3
SIDE = 1024

Encode = Callable[[int], object]
"""Encodes a batch of so many images, from the host's memory and back to it."""


@dataclass(frozen=True)
class Row:
    """The times of one way to encode."""

    model: str
    how: str
    milliseconds: dict[int, float]
    """Median for a batch, by its size."""
    verdict: str = ""
    """What comparing its masks with the reference's gave."""


@dataclass
class Report:
    """What was found, and why other things were not."""

    facts: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As Markdown."""
        head = " | ".join(f"batch {size}" for size in BATCHES)
        lines = [
            "# Encoders on a GPU",
            "",
            f"Written by `loadtest/gpu_check.sh` on {date.today()}. Median of {RUNS} runs in "
            "milliseconds, and images a second in brackets, from pixels in the host's memory to "
            "the embedding there. Weights of `sam_vit_b` are from a seed; PyTorch's are those "
            "that transformers makes up: they tell speed, not quality.",
            "",
            *(f"- {fact}" for fact in self.facts),
            "",
            f"| model | how | {head} | masks against Paddle float32 |",
            "|---|---|" + "---|" * (len(BATCHES) + 1),
        ]
        for row in self.rows:
            cells = " | ".join(_cell(row.milliseconds, size) for size in BATCHES)
            lines.append(f"| {row.model} | {row.how} | {cells} | {row.verdict or 'not compared'} |")
        if self.missing:
            lines += ["", "Not run:", "", *(f"- {reason}" for reason in self.missing)]
        return "\n".join(lines) + "\n"


def _cell(milliseconds: dict[int, float], size: int) -> str:
    if size not in milliseconds:
        return ""
    return f"{milliseconds[size]:.2f} ({1000 * size / milliseconds[size]:,.0f})"


def time_batches(encode: Encode) -> dict[int, float]:
    """Median milliseconds of a batch, by its size."""
    found = {}
    for size in BATCHES:
        for _ in range(WARM_UPS):
            encode(size)
        times = []
        for _ in range(RUNS):
            started = time.perf_counter()
            encode(size)
            times.append(1000 * (time.perf_counter() - started))
        found[size] = statistics.median(times)
    return found


def plan_rows(models: Sequence[str], model_dir: Path, report: Report) -> Iterator[Row]:
    """Build, check and time the plans; a model that has none is told to the report."""
    try:
        from ovseg.checkpoints.plan_installing import install_plan
        from ovseg.engines import EngineError
        from ovseg.engines.tensorrt import TensorRtEngine, import_cuda, import_tensorrt
        from ovseg.exporting.errors import ExportError
        from ovseg.exporting.tensorrt_plan import PlanRequest
        from ovseg.manifest import ModelManifest
        from ovseg.settings import get_settings
    except ImportError as error:
        report.missing.append(f"TensorRT plans: {error} (they are checked with Paddle)")
        return
    try:
        import_cuda()
        report.facts.append(f"TensorRT {import_tensorrt().__version__}")
    except EngineError as error:
        report.missing.append(f"TensorRT plans: {error}")
        return
    numbers = np.random.default_rng(0)
    for model in models:
        try:
            _install(model, model_dir)
            check = install_plan(
                model_dir / model, get_settings(), PlanRequest(max_batch=max(BATCHES)), _say
            )
            engine = TensorRtEngine(model_dir / model / "encoder")
        except (EngineError, ExportError) as error:
            report.missing.append(f"the plan of {model}: {error}")
            continue
        side = ModelManifest.load(model_dir / model).input_size
        pixels = numbers.integers(0, 256, (max(BATCHES), side, side, 3), np.uint8)
        sizes = np.full((max(BATCHES), 2), side, np.int32)

        def encode(
            size: int, engine: Any = engine, pixels: Any = pixels, sizes: Any = sizes
        ) -> object:
            return engine.run(pixels=pixels[:size], input_size=sizes[:size])

        verdict = f"IoU {check.mean_iou:.4f} in the mean, {check.min_iou:.4f} the lowest"
        yield Row(model, f"TensorRT {check.precision}", time_batches(encode), verdict)


def _install(model: str, model_dir: Path) -> None:
    """Have a model: the bundled one, or a variant with weights from a seed."""
    from ovseg.bench.seeded_model import install_seeded_model
    from ovseg.checkpoints.bundled import install_bundled_model
    from ovseg.settings import BUNDLED_MODEL

    if model == BUNDLED_MODEL:
        install_bundled_model(model_dir, say=_say)
    elif not (model_dir / model / "model.json").exists():
        install_seeded_model(model, model_dir, _say)


def torch_rows(report: Report, device: str = "cuda", side: int = SIDE) -> Iterator[Row]:
    """SAM's ViT-B in PyTorch, float16, as transformers has it: eager, then compiled."""
    try:
        torch: Any = import_module("torch")
        transformers: Any = import_module("transformers")
        if device == "cuda" and not torch.cuda.is_available():
            report.missing.append("PyTorch: it sees no GPU")
            return
    except (ImportError, OSError) as error:
        report.missing.append(f"PyTorch: {error}")
        return
    if device == "cuda":
        report.facts.append(f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}")
    config = transformers.SamVisionConfig(image_size=side)
    encoder = transformers.SamVisionModel(config).eval().half().to(device)
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (max(BATCHES), 3, side, side), np.uint8)
    )
    mean, std = (
        torch.tensor(values, device=device).reshape(3, 1, 1)
        for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    )
    for how, run in (("eager", encoder), ("compiled", torch.compile(encoder))):

        def encode(size: int, run: Any = run) -> object:
            with torch.inference_mode():
                normalised = ((pixels[:size].to(device).float() - mean) / std).half()
                return run(normalised)[0].float().cpu()  # Waits until it is there.

        try:
            yield Row("sam_vit_b", f"PyTorch fp16, {how}", time_batches(encode))
        except Exception as error:  # A compiler raises many kinds; the other rows count.
            report.missing.append(f"PyTorch fp16, {how}: {str(error).splitlines()[:1]}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that this machine has, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--model", action="append", help="default: sam_mini and sam_vit_b")
    parser.add_argument("--model-dir", type=Path, default=Path("build/gpu-models"))
    options = parser.parse_args(arguments)
    report = Report()
    models = options.model or ["sam_mini", "sam_vit_b"]
    # The sure things first: the rest may run out of time.
    for rows in (torch_rows(report), plan_rows(models, options.model_dir, report)):
        for row in rows:
            report.rows.append(row)
            options.output.write_text(report.text(), "utf-8")
    options.output.write_text(report.text(), "utf-8")
    print(report.text())
    if not report.rows:
        sys.exit(1)


if __name__ == "__main__":
    main()
