"""The table engine x precision of installed models' encoders, in Markdown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg.bench.arithmetic import count_flops, gemm_peak
from ovseg.bench.engine_run import PEER
from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.checkpoints.check_samples import photographs, prompts_on
from ovseg.checkpoints.mask_agreement import agreement, valid_part
from ovseg.engines import EngineError
from ovseg.engines.choosing import REFERENCE, available_precisions
from ovseg.manifest import ModelManifest
from ovseg.settings import EngineName, PrecisionName, Settings
from ovseg.stages.encoder import NormalizingImageEncoder
from ovseg.stages.image import resize_longest_side
from ovseg.stages.prompt_decoder import load_prompt_decoder

ENGINES: tuple[EngineName, ...] = ("openvino", "onnxruntime", "paddle")
COLUMNS = (
    "engine",
    "precision",
    "ms, median (range)",
    "times faster than the peer's engine (range)",
    "CPU seconds",
    "GFLOP/s",
    "share of peak",
    "peak memory, GB",
    "load, s",
    "mask IoU, mean / lowest",
)


@dataclass
class EngineRow:
    """What was measured of one engine and precision, in all rounds."""

    engine: str
    precision: PrecisionName
    load_s: list[float] = field(default_factory=list)
    times_s: list[list[float]] = field(default_factory=list)
    cpu_times_s: list[float] = field(default_factory=list)
    """Of all threads; on a busy machine these vary less than the time on the clock."""
    peak_bytes: int = 0
    ious: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def medians(self) -> NDArray[np.float64]:
        """Seconds, for each round."""
        return np.array([np.median(times) for times in self.times_s])


def measure_engines(
    model_folder: Path, settings: Settings, rounds: int, runs: int, tell: Callable[[str], None]
) -> list[EngineRow]:
    """Run every engine on a model's encoder, in turns, each time in a process of its own.

    Args:
        model_folder: an installed model.
        settings: `threads` is used.
        rounds: how often each engine has its turn.
        runs: measured runs in a turn, after one that is not counted.
        tell: called with a line at each turn.

    Returns:
        One row for each engine and precision; the first is the peer's engine.

    Raises:
        ModelNotInstalledError: there is no model there.
        EngineError: it has no encoder of its own.
    """
    manifest = ModelManifest.load(model_folder)
    if manifest.kind == "fused":
        raise EngineError(f"{manifest.name} has no encoder of its own: it was not cut")
    rows = [EngineRow(PEER, "fp32")] + [
        EngineRow(engine, precision)
        for engine in ENGINES
        for precision in available_precisions(engine)
    ]
    photo = next(photographs())
    pixels, input_size = resize_longest_side(photo, manifest.input_size)
    inputs: dict[str, NDArray[np.generic]] = {
        "pixels": pixels[None],
        "input_size": np.array([input_size], np.int32),
    }
    if manifest.kind == "cut":
        normalise = NormalizingImageEncoder(manifest.pixel_mean, manifest.pixel_std)
        images = normalise.encode(pixels[None], np.array([input_size], np.int32))
        inputs = {"images": images}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        np.savez(workspace / "inputs.npz", **inputs)
        for turn in range(rounds):
            for row in rows:
                if row.error:
                    continue
                tell(f"{manifest.name}: {row.engine} {row.precision}, round {turn + 1}")
                _take_turn(row, model_folder / "encoder", settings.threads, runs, workspace)
        _compare_masks(rows, manifest, model_folder, settings, workspace, photo)
    return rows


def _take_turn(row: EngineRow, program: Path, threads: int, runs: int, workspace: Path) -> None:
    output = workspace / f"{row.engine}-{row.precision}.npy"
    arguments = [program, row.engine, row.precision, threads, runs, workspace / "inputs.npz"]
    child = subprocess.run(
        [sys.executable, "-m", "ovseg.bench.engine_run", *map(str, arguments), str(output)],
        capture_output=True,
        text=True,
        check=False,
        # The peer's engine runs as it is shipped; ours sets this for itself.
        env={name: value for name, value in os.environ.items() if name != "MKL_DEBUG_CPU_TYPE"},
    )
    if child.returncode != 0:
        row.error = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        return
    result = json.loads(child.stdout.splitlines()[-1])
    row.load_s.append(result["load_s"])
    row.times_s.append(result["times_s"])
    row.cpu_times_s += result["cpu_times_s"]
    row.peak_bytes = max(row.peak_bytes, result["peak_bytes"])


def _compare_masks(
    rows: list[EngineRow],
    manifest: ModelManifest,
    model_folder: Path,
    settings: Settings,
    workspace: Path,
    photo: NDArray[np.uint8],
) -> None:
    """Decode every embedding with the same decoder, and compare with the reference's masks."""
    engine, precision = REFERENCE
    reference = np.load(workspace / f"{engine}-{precision}.npy")
    update = {"model_dir": model_folder.parent, "model": model_folder.name, "engine": engine}
    decoder = load_prompt_decoder(
        settings.model_copy(update=update | {"decoder_precision": precision})
    )
    prompts = prompts_on(photo, manifest)
    expected, _ = decoder.decode(reference, prompts, None, False)
    _, input_size = resize_longest_side(photo, manifest.input_size)
    valid = valid_part(np.array(input_size), expected.shape[-1], manifest.input_size)
    for row in rows:
        if not row.error:
            embedding = np.load(workspace / f"{row.engine}-{row.precision}.npy")
            masks, _ = decoder.decode(embedding, prompts, None, False)
            row.ious = agreement(masks, expected, valid)


def engine_table(
    rows: list[EngineRow], flops: float, peaks: dict[PrecisionName, float]
) -> list[str]:
    """The lines of a Markdown table.

    Args:
        rows: from `measure_engines`.
        flops: operations of the encoder for one image.
        peaks: operations per second of a large matrix product, by precision.
    """
    peer = rows[0].medians
    lines: list[list[str]] = []
    for row in rows:
        name = "Paddle Inference, as PaddleX sets it" if row.engine == PEER else row.engine
        if row.error:
            blanks = [""] * (len(COLUMNS) - 3)
            lines.append([name, row.precision, f"failed: {row.error}", *blanks])
            continue
        seconds = float(np.median(row.medians))
        faster = peer / row.medians if not rows[0].error else np.array([np.nan])
        cells = [
            name,
            row.precision,
            f"{1000 * seconds:,.0f} ({1000 * row.medians.min():,.0f}–"
            f"{1000 * row.medians.max():,.0f})",
            f"{np.median(faster):.2f} ({faster.min():.2f}–{faster.max():.2f})",
            f"{np.median(row.cpu_times_s):.2f}",
            f"{flops / seconds / 1e9:,.0f}",
            f"{flops / seconds / peaks[row.precision]:.0%}",
            f"{row.peak_bytes / 1e9:.2f}",
            f"{np.median(row.load_s):.1f}",
            f"{np.mean(row.ious):.4f} / {min(row.ious):.4f}",
        ]
        lines.append(cells)
    return table(COLUMNS, lines)


def engines_report(
    models: list[str], settings: Settings, rounds: int, runs: int, tell: Callable[[str], None]
) -> str:
    """The text of docs/benchmarks/engines.md, Markdown.

    Raises:
        ModelNotInstalledError, EngineError: a model cannot be measured.
    """
    precisions = available_precisions("openvino")
    peaks: dict[PrecisionName, float] = {}
    for precision in precisions:
        tell(f"matrix products in {precision}")
        peaks[precision] = gemm_peak(precision, settings.threads)
    packages = ", ".join(f"{name} {version(name)}" for name in ("paddlepaddle", "openvino"))
    shown = ", ".join(f"{name} {peak / 1e9:,.0f}" for name, peak in peaks.items())
    lines = [
        "# Image encoders by engine and precision",
        "",
        "Written by `ovseg bench engines`; do not edit.",
        "",
        f"- {'; '.join(f'{name}: {value}' for name, value in describe_machine().items())};",
        f"  {settings.threads} threads. {packages}.",
        f"- A 4096 x 4096 x 4096 matrix product on it, GFLOP/s: {shown}.",
        f"- {rounds} rounds, in which the engines took turns, each in a new process: the median",
        f"  of {runs} runs after one that is not counted. Median and range are over the rounds;",
        "  ratios are within a round. Memory is the process's peak, file-backed pages included.",
        "- Mask IoU: with the masks of Paddle in float32, for the boxes and points of the",
        "  self-check on examples/photo.jpg.",
    ]
    for model in models:
        folder = settings.model_dir / model
        rows = measure_engines(folder, settings, rounds, runs, tell)
        flops = count_flops(folder / "encoder")
        manifest = ModelManifest.load(folder)
        side = manifest.input_size
        lines += [
            "",
            f"## {model}",
            "",
            f"{manifest.variant} from {manifest.source}, {side} x {side}, "
            f"{flops / 1e9:,.0f} GFLOP an image.",
            "",
            *engine_table(rows, flops, peaks),
        ]
    return "\n".join(lines) + "\n"
