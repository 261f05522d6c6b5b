"""PaddleX's inference models (SAM-H_box, SAM-H_point), cut in two or served as they are.

Each is one program that takes the normalised image and the prompts at once, and comes as a
folder: `inference.json` (the program; `inference.pdmodel` in the older format),
`inference.pdiparams` and `inference.yml` (PaddleX's processor settings). A box program and a point
program together make one served model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.checkpoints.installing import (
    combined_sha256,
    describe_files,
    describe_sources,
    installing,
)
from ovseg.checkpoints.older_programs import (
    OLDER_PROGRAM_FILE_NAME,
    is_older_format,
    translated,
)
from ovseg.checkpoints.parameters_file import check_parameters_file, operations_of
from ovseg.engines.artefacts import PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.manifest import PIXEL_MEAN, PIXEL_STD, ModelManifest, PromptKind
from ovseg.settings import EngineName

PROCESSOR_FILE_NAME = "inference.yml"
_FILE_NAMES = (PROGRAM_FILE_NAME, PARAMETERS_FILE_NAME, PROCESSOR_FILE_NAME)
_KIND_OF_WIDTH: dict[int, PromptKind] = {4: "box", 2: "point"}
"""Numbers in one prompt -> what it is."""


def is_paddlex_folder(source: Path) -> bool:
    """Whether a path is the folder of an unpacked PaddleX inference model."""
    program_files = (source / PROGRAM_FILE_NAME, source / OLDER_PROGRAM_FILE_NAME)
    return source.is_dir() and any(file.is_file() for file in program_files)


def install_paddlex_model(
    folders: Sequence[Path],
    model_dir: Path,
    name: str,
    progress: Callable[[str], None] | None = None,
    engine: EngineName = "auto",
) -> ModelManifest:
    """Install one or two fused programs under one name, cut at their image embedding if possible.

    Args:
        folders: unpacked inference models, one for each kind of prompt.
        model_dir: where models are installed.
        name: the installed model's name.
        progress: called with a line for people at each step.
        engine: what to run the model with, unless a deployment's settings name another.

    Raises:
        UnreadableCheckpointError: a file is missing or is not what it should be.
    """
    tell = progress or (lambda _line: None)
    source_files = [file for folder in folders for file in _source_files(folder)]
    programs: dict[PromptKind, _FusedProgram] = {}
    with ExitStack() as stack:
        for source in folders:
            folder = source
            if is_older_format(source):
                tell(f"translating {source.name} from Paddle's older format")
                folder = stack.enter_context(translated(source, model_dir, PROCESSOR_FILE_NAME))
            program = _read_program(folder, source)
            if program.kind in programs:
                raise UnreadableCheckpointError(
                    f"{programs[program.kind].source} and {source} both take {program.kind} prompts"
                )
            programs[program.kind] = program
        return _install(programs, source_files, model_dir, name, tell, engine)


def _source_files(folder: Path) -> list[Path]:
    """The files that a model consists of.

    Raises:
        UnreadableCheckpointError: one is missing.
    """
    files = [folder / file_name for file_name in _FILE_NAMES]
    if is_older_format(folder):
        files[0] = folder / OLDER_PROGRAM_FILE_NAME
    for file in files:
        if not file.is_file():
            raise UnreadableCheckpointError(f"{file} is missing")
    return files


def _install(
    programs: Mapping[PromptKind, _FusedProgram],
    files: Sequence[Path],
    model_dir: Path,
    name: str,
    tell: Callable[[str], None],
    engine: EngineName,
) -> ModelManifest:
    """Install programs of today's format, which were made from these files."""
    processors = [_processor(program.source / PROCESSOR_FILE_NAME) for program in programs.values()]
    if any(processor != processors[0] for processor in processors):
        raise UnreadableCheckpointError(f"the models' {PROCESSOR_FILE_NAME} do not agree")
    side, mean, std = processors[0]

    with installing(model_dir, name) as being_made:
        for kind, program in programs.items():
            _copy_program(program, being_made / kind)
        tell("looking for the image embedding")
        embedding_shape = _cut(tuple(programs), side, being_made, tell)
        write_onnx_graphs(being_made, tell)
        parameter_files = being_made.rglob(PARAMETERS_FILE_NAME)
        source_files = describe_sources(files)
        manifest = ModelManifest(
            name=name,
            variant="fused",
            kind="cut" if embedding_shape else "fused",
            input_size=side,
            pixel_mean=mean,
            pixel_std=std,
            embedding_shape=embedding_shape or (3, side, side),
            prompt_kinds=tuple(programs),
            predicts_iou=False,
            parameters=sum(file.stat().st_size // 4 for file in parameter_files),
            source=", ".join(program.source.name for program in programs.values()),
            source_kind="PaddleX",
            source_files=source_files,
            source_sha256=combined_sha256(source_files),
            files=describe_files(being_made),
            engine=engine,
        )
        manifest.save(being_made)
    return manifest


@dataclass(frozen=True)
class _FusedProgram:
    """A fused program before it is installed; exporters name its inputs as they like.

    Attributes:
        folder: the program, in today's format.
        source: the folder that it came from.
    """

    folder: Path
    source: Path
    kind: PromptKind
    image_input: str
    prompts_input: str


def _read_program(folder: Path, source: Path) -> _FusedProgram:
    """Tell a program's inputs apart by their shapes: an image [*, 3, S, S], and the prompts."""
    program = folder / PROGRAM_FILE_NAME
    shapes: dict[str, list[int]] = {}
    try:
        for operation in operations_of(program):
            if operation["#"].endswith(".data"):
                attributes = {
                    attribute["N"]: attribute["AT"].get("D") for attribute in operation["A"]
                }
                shapes[attributes["name"]] = attributes["shape"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        shapes = {}
    images = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] == 3]
    prompts = {
        name: _KIND_OF_WIDTH[shape[-1]]
        for name, shape in shapes.items()
        if len(shape) in (2, 3) and shape[-1] in _KIND_OF_WIDTH
    }
    if len(shapes) != 2 or len(images) != 1 or len(prompts) != 1:
        raise UnreadableCheckpointError(
            f"{_source_files(source)[0]} is not a SAM program of PaddleX's format: "
            "its inputs are not an image and prompts, [N, 4] boxes or [1, N, 2] points"
        )
    check_parameters_file(program, folder / PARAMETERS_FILE_NAME)
    ((prompts_input, kind),) = prompts.items()
    return _FusedProgram(folder, source, kind, images[0], prompts_input)


def _copy_program(program: _FusedProgram, target: Path) -> None:
    """Copy a program's files; its inputs are named `images` and `prompts` there."""
    target.mkdir()
    for file_name in _FILE_NAMES:
        shutil.copyfile(program.folder / file_name, target / file_name)
    if (program.image_input, program.prompts_input) != ("images", "prompts"):
        # Imports Paddle, which takes seconds.
        from ovseg.static_program import StaticProgram

        renamed = StaticProgram(program.folder)
        renamed.rename_input(program.image_input, "images")
        renamed.rename_input(program.prompts_input, "prompts")
        renamed.save(target, list(renamed.inputs.values()), renamed.outputs)


def _cut(
    kinds: Sequence[PromptKind], side: int, being_made: Path, tell: Callable[[str], None]
) -> tuple[int, int, int] | None:
    """Replace the fused programs in a folder by an encoder and decoders, if that can be done.

    Returns:
        The embedding's (channels, height, width); None if the programs stay as they are.
    """
    from ovseg.checkpoints.paddlex_split import NotSplittableError, split_fused_programs

    with tempfile.TemporaryDirectory(dir=being_made) as folder:
        parts = Path(folder)
        try:
            shape = split_fused_programs({kind: being_made / kind for kind in kinds}, side, parts)
        except NotSplittableError as error:
            tell(f"served as it is, each request encodes its image anew: {error}")
            return None
        for kind in kinds:
            shutil.rmtree(being_made / kind)
        for part in parts.iterdir():
            part.rename(being_made / part.name)
    tell("cut in two: one encoder serves all prompts on an image")
    return shape


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
