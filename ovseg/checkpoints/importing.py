"""Install a checkpoint: check it, build the network, write the serving artefacts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import CheckpointError, UnknownVariantError
from ovseg.checkpoints.installing import describe_files, installing, sha256_of
from ovseg.checkpoints.state_dict import check_state_dict, fill_network, find_slots
from ovseg.manifest import ModelManifest
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.serving import EncoderProgram, PromptDecoderProgram, save_program
from ovseg.network.variants import VARIANTS


def import_checkpoint(
    source: Path,
    variant: str,
    model_dir: Path,
    name: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelManifest:
    """Write `<model_dir>/<name>/` from a checkpoint.

    The model is complete or absent: everything is written into a temporary folder beside it,
    which takes its place (and that of an installed model of the same name) at the end.

    Args:
        source: Meta's `.pth`, or a `.safetensors` file with the same keys and layouts.
        variant: a name of `VARIANTS`, such as "sam_vit_b".
        model_dir: folder of installed models; made if it is missing.
        name: the installed model's name; the variant's by default.
        progress: called with a line for people at each step.

    Returns:
        The manifest that was written.

    Raises:
        CheckpointError: the checkpoint cannot be imported; the message is one line.
    """
    tell = progress or _tell_nobody
    name = name or variant
    if variant not in VARIANTS:
        raise UnknownVariantError(
            f"{variant} is not a variant of the network; choose from {', '.join(VARIANTS)}"
        )
    if Path(name).name != name or name.startswith("."):
        raise CheckpointError(f"{name!r} cannot be the name of a model's folder")
    configuration = VARIANTS[variant]

    tell(f"reading {source.name}")
    tensors = read_checkpoint(source)
    network = SegmentAnything(configuration)
    slots = find_slots(network)
    check_state_dict(slots, tensors, source.name, variant)
    fill_network(slots, tensors)
    programs: dict[str, EncoderProgram | PromptDecoderProgram] = {
        "encoder": EncoderProgram(network),
        "prompt_decoder": PromptDecoderProgram(network),
    }
    source_sha256 = sha256_of(source)

    with installing(model_dir, name) as folder:
        for folder_name, program in programs.items():
            tell(f"writing the {folder_name} program")
            save_program(program, folder / folder_name)
        manifest = ModelManifest(
            name=name,
            variant=variant,
            kind="split",
            input_size=configuration.input_size,
            embedding_shape=configuration.embedding_shape,
            parameters=sum(math.prod(slot.stored_shape) for slot in slots.values()),
            source=source.name,
            source_sha256=source_sha256,
            files=describe_files(folder),
        )
        manifest.save(folder)
    tell(f"installed {name} in {model_dir / name}")
    return manifest


def _tell_nobody(_line: str) -> None:
    """Progress that nobody follows."""
