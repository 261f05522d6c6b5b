"""`ovseg export`: an installed model in another program's format, all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from ovseg.checkpoints.installing import installing
from ovseg.exporting.errors import ExportError
from ovseg.exporting.paddlex_format import PADDLEX_MODEL_NAMES, export_paddlex
from ovseg.exporting.programs import (
    copy_paddle_program,
    export_programs,
    write_onnx,
    write_openvino,
)
from ovseg.exporting.readme import describe_export
from ovseg.manifest import ModelManifest, PromptKind

ExportFormat = Literal["paddlex", "onnx", "paddle", "openvino"]


def export_model(
    model_folder: Path,
    export_format: ExportFormat,
    output: Path,
    kinds: tuple[PromptKind, ...] = ("box", "point"),
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write an installed model into a new folder, with a README of its tensors.

    Args:
        model_folder: `<OVSEG_MODEL_DIR>/<name>`.
        export_format: whose format.
        output: the folder to make; it may exist if it is empty.
        kinds: for "paddlex", which has a program for each kind of prompt: which ones.
        progress: called with a line for people at each step.

    Raises:
        ModelNotInstalledError: there is no model there.
        ExportError: it cannot be written in that format, or `output` is not empty.
    """
    tell = progress or (lambda _line: None)
    manifest = ModelManifest.load(model_folder)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ExportError(f"{output} exists and is not an empty folder")
    write: dict[ExportFormat, Callable[[Path], None]] = {
        "paddlex": partial(_write_paddlex, model_folder, kinds, tell),
        "onnx": partial(export_programs, model_folder, write_onnx, tell),
        "openvino": partial(export_programs, model_folder, write_openvino, tell),
        "paddle": partial(export_programs, model_folder, copy_paddle_program, tell),
    }
    output = output.absolute()
    with installing(output.parent, output.name) as folder:
        write[export_format](folder)
        readme = describe_export(manifest, export_format, kinds)
        (folder / "README.md").write_text(readme, "utf-8")


def _write_paddlex(
    model_folder: Path, kinds: tuple[PromptKind, ...], tell: Callable[[str], None], folder: Path
) -> None:
    for kind in kinds:
        name = PADDLEX_MODEL_NAMES[kind]
        tell(f"writing {name}")
        (folder / name).mkdir()
        export_paddlex(model_folder, kind, folder / name)
