"""What a fused program's graph tells: where the image embedding is, and whether two are the same.

Nothing depends on the names in a program, which differ from one exporter to the next.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import paddle
from numpy.typing import NDArray

from ovseg.static_program import DATA_OPERATION, PARAMETER_OPERATION, StaticProgram, Value

# Attributes that do not change what an operation computes.
_IGNORED_ATTRIBUTES = {"name", "parameter_name", "persistable", "stop_gradient", "struct_name"}


@dataclass(frozen=True)
class Cut:
    """A tensor where a program can be cut in two."""

    value: Value
    num_weights: int
    """Numbers in the weights that the tensor is computed with."""


class FusedGraph:
    """The graph of a program that takes an image and prompts.

    Args:
        program: the program; it must have one output.
        image_name: its input that is the image; the other one is the prompts.
    """

    def __init__(self, program: StaticProgram, image_name: str) -> None:
        self._program = program
        self._image = program.inputs[image_name]
        self._operations = program.operations
        self._sources = [_sources(operation) for operation in self._operations]
        self._weights = {
            operation.result(0).id: operation.attrs()["parameter_name"]
            for operation in self._operations
            if operation.name() == PARAMETER_OPERATION
        }

    def cuts(self) -> dict[str, Cut]:
        """Tensors that hold all that the masks depend on of the image, and nothing of the prompts.

        All of the image's paths to the masks lead through such a tensor, so the program can be
        cut there. Only tensors that can be an embedding count: FP32, [*, C, H, W] with known C, H
        and W, and with weights on both sides.

        Returns:
            The tensors by the fingerprint of how they are computed (operations, their order and
            attributes, weights), from the image towards the masks.
        """
        to_here, needs_prompts = self._paths_from_image()
        to_masks = self._paths_to_masks()
        (output,) = self._program.outputs
        cuts = [
            value
            for operation in self._operations
            for value in operation.results()
            # A product of path counts that is the count of all paths: none goes past this tensor.
            if 0 < to_here[value.id] * to_masks[value.id] == to_here[output.id]
            and value.id not in needs_prompts
            and _can_be_embedding(value)
        ]
        live_weights = {weight for weight in self._weights if to_masks[weight]}
        hashes: dict[str, str] = {self._image.id: "image"}
        found = {}
        for value in cuts:
            needed = self._needed_for(value)
            weights = needed & live_weights
            if set() < weights < live_weights:
                self._hash(needed, hashes)
                num_weights = sum(self._weight(weight).size for weight in weights)
                found[hashes[value.id]] = Cut(value, num_weights)
        return found

    def _paths_from_image(self) -> tuple[dict[str, int], set[str]]:
        """How many paths lead from the image to each tensor; which tensors need the prompts."""
        paths: dict[str, int] = defaultdict(int, {self._image.id: 1})
        needs_prompts = set()
        for operation, sources in zip(self._operations, self._sources, strict=True):
            for result in operation.results():
                if operation.name() == DATA_OPERATION:
                    if result.id != self._image.id:
                        needs_prompts.add(result.id)
                    continue
                paths[result.id] = sum(paths[source.id] for source in sources)
                if any(source.id in needs_prompts for source in sources):
                    needs_prompts.add(result.id)
        return paths, needs_prompts

    def _paths_to_masks(self) -> dict[str, int]:
        """How many paths lead from each tensor to the masks."""
        (output,) = self._program.outputs
        paths: dict[str, int] = defaultdict(int, {output.id: 1})
        for operation, sources in zip(
            reversed(self._operations), reversed(self._sources), strict=True
        ):
            onwards = sum(paths[result.id] for result in operation.results())
            for source in sources:
                paths[source.id] += onwards
        return paths

    def _needed_for(self, value: Value) -> set[str]:
        """A tensor and all that it is computed from."""
        needed = {value.id}
        for operation, sources in zip(
            reversed(self._operations), reversed(self._sources), strict=True
        ):
            if any(result.id in needed for result in operation.results()):
                needed.update(source.id for source in sources)
        return needed

    def _hash(self, needed: set[str], hashes: dict[str, str]) -> None:
        """Add the fingerprints of these tensors, each made of those it is computed from."""
        missing = needed - hashes.keys()
        for operation, sources in zip(self._operations, self._sources, strict=True):
            results = operation.results()
            if not any(result.id in missing for result in results):
                continue
            if operation.name() == PARAMETER_OPERATION:
                hashes[results[0].id] = _weight_hash(self._weight(results[0].id))
                continue
            digest = _operation_hash(operation, [hashes[source.id] for source in sources])
            for index, result in enumerate(results):
                hashes[result.id] = f"{digest}:{index}"

    def _weight(self, value_id: str) -> NDArray[Any]:
        return self._program.parameter(self._weights[value_id])


def _sources(operation: Any) -> list[Value]:
    """What an operation reads; of a branch or a loop, also what the operations within it read."""
    sources = list(operation.operands_source())
    if operation.num_regions():
        sources += paddle.base.libpaddle.pir.get_used_external_value(operation)
    return sources


def _can_be_embedding(value: Value) -> bool:
    if not value.is_dense_tensor_type() or value.dtype != paddle.base.core.DataType.FLOAT32:
        return False
    return len(value.shape) == 4 and min(value.shape[1:]) > 0


def _operation_hash(operation: Any, sources: list[str]) -> str:
    attributes = {
        name: repr(value)
        for name, value in operation.attrs().items()
        if name not in _IGNORED_ATTRIBUTES
    }
    description = [operation.name(), sorted(attributes.items()), sources]
    if operation.num_regions():
        # What is inside a branch or a loop is not compared: it counts as different from all else.
        description.append(operation.id())
    return hashlib.sha256(repr(description).encode()).hexdigest()


def _weight_hash(values: NDArray[Any]) -> str:
    header = f"{values.dtype}{values.shape}".encode()
    return hashlib.sha256(header + values.tobytes()).hexdigest()
