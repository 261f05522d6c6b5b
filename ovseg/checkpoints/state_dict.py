"""From the names and layouts of Meta's state dicts to our network's parameters.

Our sublayers carry the checkpoint's names, so a parameter's path is its key. What differs is
layout: torch keeps a linear layer's weight as [out, in], Paddle as [in, out]. Convolutions,
transposed convolutions, embeddings and norms agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import paddle
from paddle import nn

from ovseg.checkpoints.errors import (
    MissingKeyError,
    UnexpectedKeyError,
    UnreadableCheckpointError,
    WrongShapeError,
)
from ovseg.checkpoints.stored_tensor import StoredTensor


@dataclass(frozen=True)
class Slot:
    """A parameter or buffer of the network that a checkpoint fills."""

    parameter: paddle.Tensor
    is_transposed: bool

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape that the checkpoint must have."""
        shape = tuple(self.parameter.shape)
        return shape[::-1] if self.is_transposed else shape


def find_slots(network: nn.Layer) -> dict[str, Slot]:
    """Every parameter and persistable buffer of the network, by its key in a checkpoint."""
    slots = {}
    for path, layer in network.named_sublayers(include_self=True):
        own_tensors = layer.state_dict(include_sublayers=False, structured_name_prefix="")
        for name, parameter in own_tensors.items():
            key = ".".join(filter(None, (path, name)))
            slots[key] = Slot(parameter, isinstance(layer, nn.Linear) and name == "weight")
    return slots


def check_state_dict(
    slots: Mapping[str, Slot], tensors: Mapping[str, StoredTensor], source: str, variant: str
) -> None:
    """Make sure that a checkpoint fills the network, no more and no less.

    Args:
        slots: what `find_slots` found in the network.
        tensors: the checkpoint's tensors, by key.
        source: the checkpoint's file name, for messages.
        variant: the network's name, for messages.

    Raises:
        MissingKeyError, UnexpectedKeyError, WrongShapeError: the first key that is wrong, in one
            line.
    """
    hint = f"is it a {variant} checkpoint?"
    missing = [key for key in slots if key not in tensors]
    if missing:
        raise MissingKeyError(f"{source} lacks {missing[0]}{_and_others(missing)}; {hint}")
    unexpected = [key for key in tensors if key not in slots]
    if unexpected:
        raise UnexpectedKeyError(
            f"{source} has an unexpected {unexpected[0]}{_and_others(unexpected)}; {hint}"
        )
    for key, slot in slots.items():
        if tensors[key].shape != slot.stored_shape:
            raise WrongShapeError(
                f"{source} has {key} of shape {list(tensors[key].shape)}, "
                f"expected {list(slot.stored_shape)}; {hint}"
            )


def fill_network(slots: Mapping[str, Slot], tensors: Mapping[str, StoredTensor]) -> None:
    """Read every tensor of a checked checkpoint into the network, one at a time.

    Raises:
        UnreadableCheckpointError: the checkpoint's data are damaged.
    """
    for key, slot in slots.items():
        values = tensors[key].read()
        if values.dtype.kind != "f":
            raise UnreadableCheckpointError(f"{key} holds {values.dtype}, not floating point")
        slot.parameter.set_value(values.T if slot.is_transposed else values)


def _and_others(keys: list[str]) -> str:
    others = len(keys) - 1
    return "" if others == 0 else f" (and {others} other{'s' if others > 1 else ''})"
