"""An installed model of a network small enough to run in milliseconds, with masks of 256 x 256."""

from __future__ import annotations

from pathlib import Path

from ovseg.checkpoints.state_dict import find_slots
from ovseg.manifest import PROGRAMS_VERSION, ModelManifest
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.serving import programs_of, save_program
from ovseg.network.variants import MaskDecoderConfig, Variant, VitConfig
from tests.golden.seeded_weights import seeded_tensor

SMALL = Variant(
    "small",
    VitConfig(16, depth=2, num_heads=2, global_attention_blocks=(), patch_size=4),
    input_size=256,
    embedding_channels=32,
    mask_decoder=MaskDecoderConfig(mlp_dim=32, iou_head_hidden_dim=16),
)


def small_network(seed: int = 1) -> SegmentAnything:
    """The network with weights from a seed."""
    network = SegmentAnything(SMALL)
    for key, slot in find_slots(network).items():
        values = seeded_tensor(key, slot.stored_shape, seed)
        slot.parameter.set_value(values.T if slot.is_transposed else values)
    network.eval()
    return network


def install_small_model(model_dir: Path, seed: int = 1) -> Path:
    """Install the network as the model `small`; returns its folder."""
    folder = model_dir / SMALL.name
    network = small_network(seed)
    for name, program in programs_of(network).items():
        save_program(program, folder / name)
    ModelManifest(
        name=SMALL.name,
        variant=SMALL.name,
        kind="split",
        input_size=SMALL.input_size,
        embedding_shape=SMALL.embedding_shape,
        parameters=sum(parameter.size for parameter in network.parameters()),
        source="seeded weights",
        source_sha256="0" * 64,
        programs_version=PROGRAMS_VERSION,
    ).save(folder)
    return folder
