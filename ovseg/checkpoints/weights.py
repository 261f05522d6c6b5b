"""A source of weights in any known form: its files, what it is, and its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovseg.checkpoints import hugging_face
from ovseg.checkpoints.checkpoint_file import read_checkpoint
from ovseg.checkpoints.errors import CheckpointError, UnreadableCheckpointError
from ovseg.checkpoints.mobile_sam import fold_batch_norms
from ovseg.checkpoints.recognising import Layout, recognise_layout, recognise_variant
from ovseg.checkpoints.state_dict import Slot
from ovseg.checkpoints.stored_tensor import StoredTensor
from ovseg.network.variants import Variant

# torch's DataParallel, and what training scripts call the network.
WRAPPER_PREFIXES = ("module.", "model.", "sam.")


@dataclass(frozen=True)
class Weights:
    """Weights whose form and network are known; the values are still on disk."""

    source: Path
    files: tuple[Path, ...]
    layout: Layout
    variant: Variant
    tensors: dict[str, StoredTensor]
    """By the names that `named_slots` gives to the network's parameters."""
    dtypes: tuple[str, ...]
    """The types that the files hold, such as ("float16", "int64")."""

    def named_slots(self, slots: dict[str, Slot]) -> dict[str, Slot]:
        """The network's slots under the source's names, so that messages name what is there."""
        if self.layout is Layout.HUGGING_FACE:
            return {hugging_face.hugging_face_key(key): slot for key, slot in slots.items()}
        return slots


def open_weights(source: Path) -> Weights:
    """Read the names and shapes of a source of weights, and recognise what it is.

    Args:
        source: a file of torch's or of safetensors, or a folder of a Hugging Face model.

    Raises:
        CheckpointError: it is missing, damaged, or not SAM in a known layout; one line.
    """
    if source.is_dir():
        if not hugging_face.is_model_folder(source):
            raise UnreadableCheckpointError(
                f"{source} is neither a Hugging Face model (no {hugging_face.CONFIG_FILE_NAME}) "
                "nor a PaddleX inference model (no inference.json)"
            )
        files = hugging_face.weight_files(source)
        tensors = hugging_face.read_shards(files)
    else:
        files = [source]
        tensors = read_checkpoint(source)
    tensors = _without_prefix(tensors)
    dtypes = tuple(sorted({tensor.dtype for tensor in tensors.values()}))
    layout = recognise_layout(tensors, source.name)
    variant = recognise_variant(tensors, layout, source.name)
    if layout is Layout.HUGGING_FACE:
        tensors = hugging_face.without_repetition(tensors)
    elif layout is Layout.MOBILE_SAM:
        tensors = fold_batch_norms(tensors, source.name)
    return Weights(source, tuple(files), layout, variant, tensors, dtypes)


def _without_prefix(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by the network's own names, where a training script wrapped the network."""
    for prefix in WRAPPER_PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return tensors


def check_agreement(weights: Weights, variant: str) -> None:
    """Make sure that a source is what the user says.

    Raises:
        CheckpointError: it is another variant.
    """
    if weights.variant.name != variant:
        raise CheckpointError(
            f"{weights.source.name} is a {weights.variant.name} checkpoint, not {variant}"
        )
