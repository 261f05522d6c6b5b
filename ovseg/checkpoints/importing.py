"""Install a checkpoint: check it, build the network, write the serving artefacts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ovseg.checkpoints.errors import UnknownVariantError
from ovseg.checkpoints.installing import (
    check_name,
    combined_sha256,
    describe_files,
    describe_sources,
    installing,
)
from ovseg.checkpoints.state_dict import check_state_dict, fill_network, find_slots
from ovseg.checkpoints.weights import check_agreement, open_weights
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.manifest import PROGRAMS_VERSION, ModelManifest
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.serving import programs_of, save_program
from ovseg.network.variants import VARIANTS
from ovseg.settings import EngineName


def import_checkpoint(
    source: Path,
    variant: str | None,
    model_dir: Path,
    name: str | None = None,
    progress: Callable[[str], None] | None = None,
    engine: EngineName = "auto",
) -> ModelManifest:
    """Write `<model_dir>/<name>/` from a checkpoint.

    The model is complete or absent: everything is written into a temporary folder beside it,
    which takes its place (and that of an installed model of the same name) at the end.

    Args:
        source: a checkpoint file or a Hugging Face model folder, see `open_weights`.
        variant: a name of `VARIANTS`, such as "sam_vit_b", which the source must agree with; None
            to take what it is.
        model_dir: folder of installed models; made if it is missing.
        name: the installed model's name; the variant's by default.
        progress: called with a line for people at each step.
        engine: what to run the model with, unless a deployment's settings name another.

    Returns:
        The manifest that was written.

    Raises:
        CheckpointError: the checkpoint cannot be imported; the message is one line.
    """
    tell = progress or _tell_nobody
    if variant is not None and variant not in VARIANTS:
        raise UnknownVariantError(
            f"{variant} is not a variant of the network; choose from {', '.join(VARIANTS)}"
        )
    if name is not None:
        check_name(name)
    weights = open_weights(source)
    if variant is not None:
        check_agreement(weights, variant)
    configuration = weights.variant
    name = name or configuration.name
    size_bytes = sum(file.stat().st_size for file in weights.files)
    tell(
        f"{source.name} is {configuration.name} in the layout of {weights.layout.value}: "
        f"{size_bytes / 1e6:,.1f} MB of {', '.join(weights.dtypes)}"
    )
    network = SegmentAnything(configuration)
    slots = weights.named_slots(find_slots(network))
    check_state_dict(slots, weights.tensors, source.name, configuration.name)
    tell(f"reading {len(slots)} tensors")
    fill_network(slots, weights.tensors)
    source_files = describe_sources(weights.files)

    with installing(model_dir, name) as folder:
        for folder_name, program in programs_of(network).items():
            tell(f"writing the {folder_name} program")
            save_program(program, folder / folder_name)
        write_onnx_graphs(folder, tell)
        manifest = ModelManifest(
            name=name,
            variant=configuration.name,
            kind="split",
            input_size=configuration.input_size,
            embedding_shape=configuration.embedding_shape,
            parameters=sum(math.prod(slot.stored_shape) for slot in slots.values()),
            source=source.name,
            source_sha256=combined_sha256(source_files),
            source_kind=weights.layout.value,
            source_files=source_files,
            source_dtypes=weights.dtypes,
            files=describe_files(folder),
            programs_version=PROGRAMS_VERSION,
            engine=engine,
        )
        manifest.save(folder)
    tell(f"installed {name} in {model_dir / name}")
    return manifest


def _tell_nobody(_line: str) -> None:
    """Progress that nobody follows."""
