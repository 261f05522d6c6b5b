"""The self-check of an installed model: which engines give its masks, and how fast.

Each engine and precision runs the model's stages on the same photographs and prompts as Paddle
Inference in float32, which is the reference: its graph is the one that was compared with Meta's.
Masks are compared as they are at low resolution; what is recorded decides what `auto` means (see
`ovseg/engines/choosing.py`). Times are of the machine as it is, good to a few tens of percent.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ovseg.checkpoints.check_samples import photographs, prompts_on
from ovseg.checkpoints.engine_candidates import engine_candidates
from ovseg.checkpoints.mask_agreement import Bar, agreement, cosine, valid_part
from ovseg.engines import EngineError
from ovseg.engines.choosing import REFERENCE, EngineChoice
from ovseg.manifest import EngineCheck, ModelManifest, ProgramPart
from ovseg.settings import EngineName, PrecisionName, Settings
from ovseg.stages.encoder import ImageEncoder, load_image_encoder
from ovseg.stages.image import resize_longest_side
from ovseg.stages.prompt_decoder import PromptDecoder, load_prompt_decoder
from ovseg.stages.prompts import Prompts

BARS: dict[ProgramPart, Bar] = {"encoder": Bar(0.99, 0.97), "decoder": Bar(0.995, 0.97)}
# A reference encoder that takes longer than this sees one photograph, not two.
PATIENCE_S = 20.0
TIMING_RUNS = 3
TIMING_BUDGET_S = 1.5

Floats = NDArray[np.float32]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Sample:
    """A photograph with its prompts, and the reference's answers."""

    pixels: NDArray[np.uint8]
    input_size: NDArray[np.int32]
    prompts: Prompts
    embedding: Floats
    masks: Floats

    @property
    def first_prompt(self) -> Prompts:
        """The first of the prompts, alone."""
        return Prompts(self.prompts.coords[:1], self.prompts.labels[:1])


def check_engines(
    model_folder: Path,
    settings: Settings,
    tell: Tell = lambda _line: None,
    precision: PrecisionName = "auto",
) -> ModelManifest:
    """Try the engines on an installed model, and write what was found into its manifest.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        settings: `threads` is used.
        tell: called with a line for people at each step.
        precision: of the encoder; "int8", which is left out otherwise, is tried too. What is asked
            for here and accepted is recorded as the model's precision.

    Raises:
        ModelNotInstalledError: there is no model there.
        EngineError: Paddle cannot run it.
    """
    manifest = ModelManifest.load(model_folder)
    checks: list[EngineCheck] = []
    samples, decoder = _reference(model_folder, manifest, settings, checks, tell)
    for part in _parts(manifest):
        for choice in engine_candidates(model_folder, part, precision):
            if choice.engine == "onnxruntime" and _has_accepted(checks, part, "openvino"):
                continue  # it was slower than OpenVINO wherever it was measured
            tell(f"checking the {part} with {choice}")
            try:
                with _trial(model_folder, manifest, settings, part, choice) as trial:
                    checks.append(_check(part, choice, trial, samples, decoder))
            except EngineError as error:
                checks.append(_refused(part, choice, str(error)))
    accepted = {check.precision for check in checks if check.part == "encoder" and check.accepted}
    if precision == "auto":
        precision = manifest.precision
    elif precision not in accepted:
        precision = "auto"
    manifest = replace(manifest, checks=tuple(checks), precision=precision)
    manifest.save(model_folder)
    return manifest


def _parts(manifest: ModelManifest) -> tuple[ProgramPart, ...]:
    return ("decoder",) if manifest.kind == "fused" else ("encoder", "decoder")


def check_encoder(
    model_folder: Path,
    settings: Settings,
    choice: EngineChoice,
    batches: Sequence[int],
    tell: Tell = lambda _line: None,
) -> EngineCheck:
    """Try one engine on a model's encoder; the manifest stays as it is.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        settings: `threads` is used.
        choice: engine and precision.
        batches: numbers of images to encode at a time; every one of them is compared.
        tell: called with a line for people at each step.

    Raises:
        ModelNotInstalledError: there is no model there.
        EngineError: Paddle or the engine cannot run it.
    """
    manifest = ModelManifest.load(model_folder)
    samples, decoder = _reference(model_folder, manifest, settings, [], tell)
    tell(f"checking the encoder with {choice}, {' and '.join(map(str, batches))} at a time")
    with _trial(model_folder, manifest, settings, "encoder", choice) as trial:
        return _check("encoder", choice, trial, samples, decoder, batches)


def _has_accepted(checks: list[EngineCheck], part: ProgramPart, engine: EngineName) -> bool:
    return any(check.accepted and check.engine == engine and check.part == part for check in checks)


@contextmanager
def _trial(
    model_folder: Path,
    manifest: ModelManifest,
    settings: Settings,
    part: ProgramPart,
    choice: EngineChoice,
) -> Iterator[Settings]:
    """Settings under which the stages load a copy of the model, made of links, with a choice."""
    permit = EngineCheck(part=part, engine=choice.engine, precision=choice.precision, accepted=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / model_folder.name
        copy.mkdir()
        for program in manifest.program_names:
            (copy / program).symlink_to((model_folder / program).absolute())
        replace(manifest, checks=(permit,)).save(copy)
        yield settings.model_copy(
            update={
                "model_dir": Path(folder),
                "model": model_folder.name,
                "engine": choice.engine,
                "precision": choice.precision if part == "encoder" else "auto",
                "decoder_precision": choice.precision if part == "decoder" else "auto",
            }
        )


def _reference(
    model_folder: Path,
    manifest: ModelManifest,
    settings: Settings,
    checks: list[EngineCheck],
    tell: Tell,
) -> tuple[list[_Sample], PromptDecoder]:
    """The reference's answers, and its decoder; its times go to `checks`."""
    choice = EngineChoice(*REFERENCE)
    tell(f"checking the {' and the '.join(_parts(manifest))} with {choice}, the reference")
    with _trial(model_folder, manifest, settings, "encoder", choice) as trial:
        encoder = load_image_encoder(trial)
        decoder = load_prompt_decoder(trial)
    samples: list[_Sample] = []
    for photo in photographs():
        pixels, input_size = resize_longest_side(photo, manifest.input_size)
        sizes = np.array([input_size], np.int32)
        started = time.perf_counter()
        embedding = encoder.encode(pixels[None], sizes)
        seconds = time.perf_counter() - started
        prompts = prompts_on(photo, manifest)
        masks, _ = decoder.decode(embedding, prompts, None, False)
        samples.append(_Sample(pixels[None], sizes, prompts, embedding, masks))
        if seconds > PATIENCE_S or manifest.kind == "fused":
            break
    for part in _parts(manifest):
        checks.append(
            EngineCheck(
                part=part,
                engine=choice.engine,
                precision=choice.precision,
                accepted=True,
                mean_iou=1.0,
                min_iou=1.0,
                embedding_cosine=1.0 if part == "encoder" else None,
                seconds=_seconds(part, encoder, decoder, samples[0]),
            )
        )
    return samples, decoder


def _check(
    part: ProgramPart,
    choice: EngineChoice,
    trial: Settings,
    samples: list[_Sample],
    reference_decoder: PromptDecoder,
    batches: Sequence[int] = (1,),
) -> EngineCheck:
    """Run a candidate for one part, the reference for the other."""
    encoder = load_image_encoder(trial) if part == "encoder" else None
    decoder = load_prompt_decoder(trial) if part == "decoder" else reference_decoder
    ious: dict[tuple[int, int], list[float]] = {}
    cosines: list[float] = []
    for place, sample, embedding in _embeddings(encoder, samples, batches):
        cosines.append(cosine(embedding, sample.embedding))
        valid = valid_part(sample.input_size[0], sample.masks.shape[-1], sample.pixels.shape[1])
        # One prompt, then all of them: many may be decoded by another program.
        for prompts in (sample.first_prompt, sample.prompts):
            masks, _ = decoder.decode(embedding, prompts, None, False)
            agreements = agreement(masks, sample.masks[: len(prompts)], valid)
            ious.setdefault(place, []).extend(agreements)
    # One place of a batch that is wrong must not be made up for by the others.
    mean = float(min(np.mean(of_place) for of_place in ious.values()))
    lowest = min(min(of_place) for of_place in ious.values())
    reason = BARS[part].objection(mean, lowest)
    return EngineCheck(
        part=part,
        engine=choice.engine,
        precision=choice.precision,
        accepted=not reason,
        reason=reason,
        mean_iou=mean,
        min_iou=lowest,
        embedding_cosine=min(cosines) if part == "encoder" else None,
        seconds=_seconds(part, encoder, decoder, samples[0]),
    )


def _embeddings(
    encoder: ImageEncoder | None, samples: list[_Sample], batches: Sequence[int]
) -> Iterator[tuple[tuple[int, int], _Sample, Floats]]:
    """Each sample with its embedding, float32 [1, …]: the reference's if there is no encoder.

    A batch of several holds the samples in turn, so that its places differ. The first of what is
    yielded is the size of the batch and the place in it.
    """
    if encoder is None:
        yield from (((1, 0), sample, sample.embedding) for sample in samples)
        return
    for batch in batches:
        # Alone each sample has its turn.
        chosen = [samples[place % len(samples)] for place in range(max(batch, len(samples)))]
        for at in range(0, len(chosen), batch):
            together = chosen[at : at + batch]
            embeddings = encoder.encode(
                np.concatenate([sample.pixels for sample in together]),
                np.concatenate([sample.input_size for sample in together]),
            )
            for place, sample in enumerate(together):
                yield (batch, place), sample, embeddings[place : place + 1]


def _refused(part: ProgramPart, choice: EngineChoice, reason: str) -> EngineCheck:
    return EngineCheck(
        part=part,
        engine=choice.engine,
        precision=choice.precision,
        accepted=False,
        reason=reason,
    )


def _seconds(
    part: ProgramPart, encoder: ImageEncoder | None, decoder: PromptDecoder, sample: _Sample
) -> float:
    """Median time of one image or of one prompt, after the runs that warmed it up."""
    times: list[float] = []
    while len(times) < TIMING_RUNS and sum(times) < TIMING_BUDGET_S:
        started = time.perf_counter()
        if part == "encoder" and encoder is not None:
            encoder.encode(sample.pixels, sample.input_size)
        else:
            decoder.decode(sample.embedding, sample.first_prompt, None, False)
        times.append(time.perf_counter() - started)
    return float(np.median(times))
