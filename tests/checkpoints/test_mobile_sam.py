"""MobileSAM's layout: normalisation becomes part of the convolutions, the classifier is left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ovseg.checkpoints.errors import MissingKeyError, WrongShapeError
from ovseg.checkpoints.mobile_sam import fold_batch_norms
from ovseg.checkpoints.recognising import Layout, recognise_layout, recognise_variant
from ovseg.checkpoints.state_dict import check_state_dict, find_slots
from ovseg.checkpoints.stored_tensor import StoredTensor
from ovseg.network.segment_anything import SegmentAnything

PAIR = "image_encoder.layers.0.blocks.0.conv1"


def stored(values: NDArray[np.float32]) -> StoredTensor:
    return StoredTensor(values.shape, lambda: values)


@pytest.fixture
def pair() -> dict[str, StoredTensor]:
    """A convolution of 3 to 5 channels and its normalisation."""
    random = np.random.default_rng(0)
    normal = {
        "c.weight": random.normal(size=(5, 3, 1, 1)),
        "bn.weight": random.normal(size=5),
        "bn.bias": random.normal(size=5),
        "bn.running_mean": random.normal(size=5),
        "bn.running_var": random.uniform(0.1, 2, size=5),
    }
    tensors = {f"{PAIR}.{name}": stored(v.astype(np.float32)) for name, v in normal.items()}
    return {**tensors, f"{PAIR}.bn.num_batches_tracked": stored(np.zeros((), np.float32))}


def test_folding_gives_the_same_function(pair: dict[str, StoredTensor]) -> None:
    pixels = np.random.default_rng(1).normal(size=(3, 100))
    read = {name.removeprefix(f"{PAIR}."): tensor.read() for name, tensor in pair.items()}
    convolved = read["c.weight"][:, :, 0, 0] @ pixels
    centred = convolved - read["bn.running_mean"][:, None]
    scale = read["bn.weight"] / np.sqrt(read["bn.running_var"] + 1e-5)
    expected = centred * scale[:, None] + read["bn.bias"][:, None]

    folded = fold_batch_norms(pair, "it")
    assert set(folded) == {f"{PAIR}.weight", f"{PAIR}.bias"}
    kernel = folded[f"{PAIR}.weight"].read()
    bias = folded[f"{PAIR}.bias"].read()
    assert kernel.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(kernel[:, :, 0, 0] @ pixels + bias[:, None], expected, atol=1e-5)


@pytest.mark.parametrize("part", ["c.weight", "bn.weight", "bn.bias", "bn.running_var"])
def test_a_missing_part_is_named(pair: dict[str, StoredTensor], part: str) -> None:
    del pair[f"{PAIR}.{part}"]
    with pytest.raises(MissingKeyError, match=f"mobile lacks {PAIR}.{part}"):
        fold_batch_norms(pair, "mobile")


def test_a_part_that_does_not_fit_is_named(pair: dict[str, StoredTensor]) -> None:
    pair[f"{PAIR}.bn.bias"] = stored(np.zeros(4, np.float32))
    with pytest.raises(WrongShapeError, match=rf"{PAIR}.bn.bias of shape \[4\], expected \[5\]"):
        fold_batch_norms(pair, "mobile")


def test_the_packages_state_dict_fills_our_network(golden_folder: Path) -> None:
    shapes = json.loads((golden_folder / "mobile_sam_shapes.json").read_text())
    tensors = {
        key: StoredTensor(tuple(shape), lambda: np.zeros(0)) for key, shape in shapes.items()
    }
    layout = recognise_layout(tensors, "it")
    variant = recognise_variant(tensors, layout, "it")
    assert (layout, variant.name) == (Layout.MOBILE_SAM, "mobile_sam")
    slots = find_slots(SegmentAnything(variant))
    check_state_dict(slots, fold_batch_norms(tensors, "it"), "it", variant.name)
