"""What an installed model is: the `model.json` beside its serving artefacts.

Layout of an installed model, written by `ovseg import` and read by the stages:

    <OVSEG_MODEL_DIR>/<name>/
        model.json                          this manifest
        encoder/inference.json, .pdiparams  split models: pixels -> embedding
        encoder/tensorrt/model.plan, …      the same for one kind of GPU, if it was built
        prompt_decoder/inference.json, …    split models: embedding + prompts -> low-res masks
        mask_encoder/inference.json, …      split models: embedding + mask inputs -> embeddings
        box/inference.json, …               fused models: image + boxes -> low-res masks
        point/inference.json, …             fused models: image + one point -> low-res masks

    A cut model has encoder/, box/ and point/: normalised image -> embedding, then embedding +
    boxes or one point -> low-res masks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from ovseg.engine_names import EngineName, PrecisionName

MANIFEST_FILE_NAME = "model.json"

# SAM's normalisation, RGB order, 0-255 range (segment_anything/build_sam.py).
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

PromptKind = Literal["box", "point"]

PROGRAMS_VERSION = 4
"""Of a split model's programs: raised when their number, inputs or outputs change."""

IMAGE_TERMS = ("placed", "columns", "values", "pixels", "squares")
"""What the program `image_terms` gives and `terms_decoder` takes, in this order."""
TERMS_DECODER_TOKENS = 2
"""Of each prompt that `terms_decoder` takes: a box's corners, or a point and its padding."""


class ModelNotInstalledError(Exception):
    """The model directory holds no readable manifest; the message says what to do next."""


class ObsoleteModelError(ModelNotInstalledError):
    """The model was installed by a version of ovseg whose programs were others."""


class ArtefactFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an installed model, relative to the model's folder."""

    path: str
    size_bytes: int
    sha256: str


ProgramPart = Literal["encoder", "decoder"]
"""What a program is to the precision it runs in; a fused program counts as a decoder."""


def part_of(program_name: str) -> ProgramPart:
    """The part that a program of an installed model belongs to."""
    return "encoder" if program_name == "encoder" else "decoder"


class EngineCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How one engine did in a model's self-check, on the machine where it was installed."""

    part: ProgramPart
    engine: EngineName
    precision: PrecisionName
    accepted: bool
    reason: str = ""
    """Why it was refused, for people."""
    mean_iou: float = 0.0
    """Of masks with those of Paddle in float32, over the check's prompts."""
    min_iou: float = 0.0
    embedding_cosine: float | None = None
    """Between the two embeddings; encoders only."""
    seconds: float = 0.0
    """Of one image or one prompt, median."""


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an installed model.

    `split` models run an image encoder once per image and a prompt decoder per request.
    `fused` models (PaddleX's inference format) take image and prompts in one program; there is
    one program for each kind of prompt, and their "embedding" is the normalised image itself.
    `cut` models are fused models that were cut in two at the image embedding: one encoder, and a
    decoder for each kind of prompt.
    """

    name: str
    variant: str
    kind: Literal["split", "fused", "cut"]
    input_size: int
    pixel_mean: tuple[float, float, float] = PIXEL_MEAN
    pixel_std: tuple[float, float, float] = PIXEL_STD
    embedding_shape: tuple[int, int, int]
    """Of what `sam_encoder` returns for one image: (height, width, channels) of split models, whose
    decoder works on cells; (channels, height, width) of others."""
    prompt_kinds: tuple[PromptKind, ...] = ("box", "point")
    predicts_iou: bool = True
    parameters: int
    source: str
    """File name the weights came from, for people."""
    source_sha256: str
    source_kind: str = ""
    """Whose layout the weights had, for people."""
    source_files: tuple[ArtefactFile, ...] = ()
    """The files the weights came from."""
    source_dtypes: tuple[str, ...] = ()
    """Types of the tensors in them; the installed model computes in float32."""
    source_urls: tuple[str, ...] = ()
    """Where `ovseg fetch` downloaded them."""
    source_checksum: Literal["known", "first use"] | None = None
    """What a download was compared with: a checksum known before, or the first one seen here."""
    files: tuple[ArtefactFile, ...] = ()
    programs_version: int = 1
    """Of a split model's programs; absent from manifests of version 1."""
    engine: EngineName = "auto"
    """What to run the programs with, unless the setting `OVSEG_ENGINE` names an engine."""
    precision: PrecisionName = "auto"
    """What the encoder computes in, unless the setting `OVSEG_PRECISION` says it."""
    checks: tuple[EngineCheck, ...] = ()
    """The self-check's results; empty if there was none."""

    @property
    def program_names(self) -> tuple[str, ...]:
        """The folders of the model's programs."""
        if self.kind == "split":
            return ("encoder", "prompt_decoder", "mask_encoder", "image_terms", "terms_decoder")
        return ("encoder", *self.prompt_kinds) if self.kind == "cut" else self.prompt_kinds

    @classmethod
    def load(cls, model_folder: Path) -> ModelManifest:
        """Read `<model_folder>/model.json`.

        Raises:
            ModelNotInstalledError: the file is missing or is not a manifest, or the model must be
                imported again (ObsoleteModelError).
        """
        path = model_folder / MANIFEST_FILE_NAME
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise ModelNotInstalledError(
                f"no model is installed at {model_folder} (no {MANIFEST_FILE_NAME}); "
                f"install it with `ovseg import CHECKPOINT --name {model_folder.name}`, or see "
                "`ovseg models` for what can be fetched"
            ) from None
        except msgspec.DecodeError as error:
            raise ModelNotInstalledError(
                f"{path} is not a model manifest ({error}); "
                f"install the model again with `ovseg import CHECKPOINT --name {model_folder.name}`"
            ) from None
        if manifest.kind == "split" and manifest.programs_version != PROGRAMS_VERSION:
            raise ObsoleteModelError(
                f"{manifest.name} was installed by another version of ovseg: import it again with "
                f"`ovseg import CHECKPOINT --name {model_folder.name}` (it came from "
                f"{manifest.source})"
            )
        return manifest

    def save(self, model_folder: Path) -> None:
        """Write `<model_folder>/model.json` (UTF-8, indented for people)."""
        path = model_folder / MANIFEST_FILE_NAME
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
