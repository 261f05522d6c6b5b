"""From an installed model back to the network it was made of.

The weights are read from the serving programs, whose parameters carry the checkpoint's keys: an
export needs neither the original checkpoint nor a second copy of the weights.
"""

from __future__ import annotations

from pathlib import Path

from ovseg.exporting.errors import ExportError
from ovseg.manifest import ModelManifest
from ovseg.network.attention import cancels_out
from ovseg.network.segment_anything import SegmentAnything
from ovseg.network.variants import VARIANTS
from ovseg.static_program import StaticProgram


def load_installed_network(model_folder: Path) -> SegmentAnything:
    """Rebuild the network of an installed model of ours.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.

    Raises:
        ModelNotInstalledError: there is no model there.
        ExportError: the model is not a network of ours, or its programs lack a weight.
    """
    manifest = ModelManifest.load(model_folder)
    if manifest.kind != "split" or manifest.variant not in VARIANTS:
        raise ExportError(
            f"{manifest.name} came in PaddleX's format ({manifest.source}): there is no network "
            "to write in another one"
        )
    network = SegmentAnything(VARIANTS[manifest.variant])
    missing = {
        name: tensor for name, tensor in network.state_dict().items() if not cancels_out(name)
    }
    for program_name in manifest.program_names:
        program = StaticProgram(model_folder / program_name)
        for name in program.parameter_names:
            if name in missing:
                missing.pop(name).set_value(program.parameter(name))
    if missing:
        raise ExportError(
            f"the programs of {manifest.name} lack {next(iter(missing))}: import the model again"
        )
    network.eval()
    return network
