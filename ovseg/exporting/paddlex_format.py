"""`ovseg export NAME --format paddlex`: a folder that PaddleX 3.7.2 loads as its own model."""

from __future__ import annotations

from pathlib import Path

import yaml

from ovseg.exporting.fused_program import FusedProgram
from ovseg.exporting.installed_network import load_installed_network
from ovseg.manifest import PIXEL_MEAN, PIXEL_STD, PromptKind
from ovseg.network.serving import save_program

# The names that PaddleX's pipeline asks for, whatever the weights are.
PADDLEX_MODEL_NAMES: dict[PromptKind, str] = {"box": "SAM-H_box", "point": "SAM-H_point"}


def export_paddlex(model_folder: Path, kind: PromptKind, output: Path) -> None:
    """Write `inference.json`, `inference.pdiparams` and `inference.yml`.

    Args:
        model_folder: an installed model of ours.
        kind: the kind of prompt; PaddleX has one program for each.
        output: an existing folder.

    Raises:
        ModelNotInstalledError, ExportError: the model cannot be written in this form.
    """
    network = load_installed_network(model_folder)
    save_program(FusedProgram(network, kind), output)
    settings = {
        "Global": {"model_name": PADDLEX_MODEL_NAMES[kind]},
        "Preprocess": [],
        "Processor": {
            "type": "SAMProcessor",
            "size": network.variant.input_size,
            # For people: PaddleX 3.7.2 reads them, and then always uses SAM's, which these are.
            "mean": list(PIXEL_MEAN),
            "std": list(PIXEL_STD),
        },
    }
    (output / "inference.yml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
