"""PaddleX's inference models (SAM-H_box, SAM-H_point), served as they are.

Each is one program that takes the normalised image and the prompts at once, and comes as a
folder: `inference.json` (the program), `inference.pdiparams` and `inference.yml` (PaddleX's
processor settings). A box program and a point program together make one served model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.installing import describe_files, installing
from ovseg.engines.paddle_inference import PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME
from ovseg.manifest import PIXEL_MEAN, PIXEL_STD, ModelManifest, PromptKind

PROCESSOR_FILE_NAME = "inference.yml"
_FILE_NAMES = (PROGRAM_FILE_NAME, PARAMETERS_FILE_NAME, PROCESSOR_FILE_NAME)


def is_paddlex_folder(source: Path) -> bool:
    """Whether a path is the folder of an unpacked PaddleX inference model."""
    return source.is_dir() and (source / PROGRAM_FILE_NAME).is_file()


def install_paddlex_model(folders: Sequence[Path], model_dir: Path, name: str) -> ModelManifest:
    """Install one or two fused programs under one name.

    Args:
        folders: unpacked inference models, one for each kind of prompt.
        model_dir: where models are installed.
        name: the installed model's name.

    Raises:
        UnreadableCheckpointError: a file is missing or is not what it should be.
    """
    kinds: dict[PromptKind, Path] = {}
    for folder in folders:
        for file_name in _FILE_NAMES:
            if not (folder / file_name).is_file():
                raise UnreadableCheckpointError(f"{folder / file_name} is missing")
        kind = _prompt_kind(folder / PROGRAM_FILE_NAME)
        if kind in kinds:
            raise UnreadableCheckpointError(f"{kinds[kind]} and {folder} both take {kind} prompts")
        kinds[kind] = folder

    processors = [_processor(folder / PROCESSOR_FILE_NAME) for folder in kinds.values()]
    if any(processor != processors[0] for processor in processors):
        raise UnreadableCheckpointError(f"the models' {PROCESSOR_FILE_NAME} do not agree")
    side, mean, std = processors[0]

    with installing(model_dir, name) as folder_being_made:
        digest = hashlib.sha256()
        for kind, folder in kinds.items():
            (folder_being_made / kind).mkdir()
            for file_name in _FILE_NAMES:
                shutil.copyfile(folder / file_name, folder_being_made / kind / file_name)
                digest.update((folder / file_name).read_bytes())
        manifest = ModelManifest(
            name=name,
            variant="fused",
            kind="fused",
            input_size=side,
            pixel_mean=mean,
            pixel_std=std,
            embedding_shape=(3, side, side),
            prompt_kinds=tuple(kinds),
            predicts_iou=False,
            parameters=sum(
                (folder / PARAMETERS_FILE_NAME).stat().st_size // 4 for folder in kinds.values()
            ),
            source=", ".join(folder.name for folder in kinds.values()),
            source_sha256=digest.hexdigest(),
            files=describe_files(folder_being_made),
        )
        manifest.save(folder_being_made)
    return manifest


def _prompt_kind(program: Path) -> PromptKind:
    """Box or point, from the last dimension of the program's `prompts` input."""
    try:
        operations = json.loads(program.read_bytes())["program"]["regions"][0]["blocks"][0]["ops"]
        for operation in operations:
            attributes = {
                attribute["N"]: attribute["AT"].get("D")
                for attribute in operation["A"]
                if isinstance(attribute, dict)
            }
            if attributes.get("name") == "prompts":
                return {4: "box", 2: "point"}[attributes["shape"][-1]]  # type: ignore[return-value]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        pass
    raise UnreadableCheckpointError(
        f"{program} is not a SAM program of PaddleX's format: "
        "it has no input `prompts` of [N, 4] boxes or [1, N, 2] points"
    )


def _processor(
    path: Path,
) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """Input size, mean and standard deviation of the model's SAMProcessor."""
    try:
        settings: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))["Processor"]
        red, green, blue = map(float, settings.get("mean", PIXEL_MEAN))
        red_std, green_std, blue_std = map(float, settings.get("std", PIXEL_STD))
        side = int(settings.get("size", 1024))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UnreadableCheckpointError(f"{path} has no usable `Processor`: {error}") from None
    return side, (red, green, blue), (red_std, green_std, blue_std)
