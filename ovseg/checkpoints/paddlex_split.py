"""PaddleX's fused programs, cut in two at the image embedding.

A fused program encodes the image anew for every request, and a box and a point program are two
copies of the same encoder. Cut, one encoder serves both, once for each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.checkpoints.program_graph import Cut, FusedGraph
from ovseg.engines import first_line
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.manifest import PromptKind
from ovseg.settings import available_cpus
from ovseg.static_program import StaticProgram

ENCODER, EMBEDDING = "encoder", "embedding"
IMAGE, PROMPTS = "images", "prompts"
# Cutting changes no arithmetic; what Paddle's passes fuse across the cut may round differently.
TOLERANCE = 1e-4
# An encoder is the same if this part of its weights is; what comes after may belong to a decoder.
SHARED_PART = 0.99
# As fractions of the input's side.
_SAMPLE_PROMPTS: dict[PromptKind, Any] = {
    "box": [[0.1, 0.2, 0.7, 0.8], [0.4, 0.3, 0.6, 0.5]],
    "point": [[[0.45, 0.55]]],
}


class NotSplittableError(Exception):
    """The programs cannot be cut; the message says why, for people."""


def split_fused_programs(
    programs: Mapping[PromptKind, Path], side: int, target: Path
) -> tuple[int, int, int]:
    """Write `<target>/encoder`, and a decoder `<target>/<kind>` for each kind of prompt.

    The encoder takes `images` FP32 [1, 3, S, S], normalised, and returns the embedding; a decoder
    takes `embedding` and `prompts` and returns what the fused program does. Each pair is run
    against its fused program before this returns.

    Args:
        programs: folders of fused programs, whose inputs are named `images` and `prompts`.
        side: side of the model's square input, in pixels.
        target: an existing folder; after an error there may be parts in it.

    Returns:
        The embedding's (channels, height, width).

    Raises:
        NotSplittableError: there is no embedding, the encoders differ, or the parts do not
            compute what the whole does.
    """
    try:
        shape = _write_parts(programs, target)
        _verify(programs, side, target)
    except NotSplittableError:
        raise
    except Exception as error:
        # Paddle raises errors of many kinds on programs it does not understand. Whatever it is,
        # a model that cannot be cut can still be served whole.
        raise NotSplittableError(f"Paddle cannot work on it ({first_line(error)})") from None
    return shape


def _write_parts(programs: Mapping[PromptKind, Path], target: Path) -> tuple[int, int, int]:
    opened = {kind: StaticProgram(folder) for kind, folder in programs.items()}
    for kind, program in opened.items():
        if set(program.inputs) != {IMAGE, PROMPTS} or len(program.outputs) != 1:
            raise NotSplittableError(f"the {kind} program has other inputs or outputs")
    cuts = {kind: FusedGraph(program, IMAGE).cuts() for kind, program in opened.items()}
    for kind, candidates in cuts.items():
        if not candidates:
            raise NotSplittableError(f"the {kind} program computes no image embedding")
    embedding = _shared_embedding(list(cuts.values()))
    _, *sizes = next(iter(cuts.values()))[embedding].value.shape
    for index, (kind, program) in enumerate(opened.items()):
        value = cuts[kind][embedding].value
        if index == 0:
            program.save(target / ENCODER, [program.inputs[IMAGE]], [value])
        program.replace_by_input(value, EMBEDDING, [1, *sizes])
        inputs = [program.inputs[EMBEDDING], program.inputs[PROMPTS]]
        program.save(target / kind, inputs, program.outputs)
    channels, height, width = sizes
    return channels, height, width


def _shared_embedding(cuts: Sequence[Mapping[str, Cut]]) -> str:
    """The fingerprint of the last tensor at which all programs can be cut.

    Raises:
        NotSplittableError: there is none, or much of some program's encoder comes after it.
    """
    first, *others = cuts
    shared = [fingerprint for fingerprint in first if all(fingerprint in cut for cut in others)]
    for candidates in cuts:
        *_, deepest = candidates.values()
        if not shared or (candidates[shared[-1]].num_weights < SHARED_PART * deepest.num_weights):
            raise NotSplittableError(
                "their image encoders differ (imported one by one, under two names, each can be "
                "split)"
            )
    return shared[-1]


def _verify(programs: Mapping[PromptKind, Path], side: int, target: Path) -> None:
    """Compare the parts with the whole programs, on a random image.

    Raises:
        NotSplittableError: they differ.
    """
    threads = available_cpus()
    image = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    # One program at a time: the largest take several gigabytes each.
    (embedding,) = PaddleEngine(target / ENCODER, threads).run(images=image)
    for kind, program in programs.items():
        prompts = side * np.array(_SAMPLE_PROMPTS[kind], np.float32)
        decoder = PaddleEngine(target / kind, threads)
        (masks,) = decoder.run(embedding=embedding, prompts=prompts)
        (expected,) = PaddleEngine(program, threads).run(images=image, prompts=prompts)
        difference = float(np.abs(np.subtract(masks, expected)).max())
        if not difference <= TOLERANCE * float(np.abs(expected).max()):  # true for NaN
            raise NotSplittableError(
                f"the parts of the {kind} program do not compute what the whole does "
                f"(logits differ by {difference:.3g})"
            )
