"""PaddleX's inference models in the older format, `inference.pdmodel`, as programs of today's.

Paddle 3 still reads that format, and translates its programs to the form of `inference.json`; with
that done once, at the import, every later step knows one format only. The weights,
`inference.pdiparams`, are of the same format in both.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ovseg.checkpoints.errors import UnreadableCheckpointError
from ovseg.engines import first_line
from ovseg.engines.artefacts import PARAMETERS_FILE_NAME, PROGRAM_FILE_NAME

OLDER_PROGRAM_FILE_NAME = "inference.pdmodel"


def is_older_format(folder: Path) -> bool:
    """Whether a folder has a program in the older format only."""
    has_newer = (folder / PROGRAM_FILE_NAME).is_file()
    return not has_newer and (folder / OLDER_PROGRAM_FILE_NAME).is_file()


@contextmanager
def translated(folder: Path, parent: Path, processor_file_name: str) -> Iterator[Path]:
    """A copy of an inference model in today's format, which is removed when the block ends.

    Args:
        folder: the model, in the older format.
        parent: where the copy is made; made itself if it is missing.
        processor_file_name: a file of the model to take over as it is.

    Raises:
        UnreadableCheckpointError: Paddle cannot read the program or its weights.
    """
    from ovseg.static_program import translate_older_program  # imports Paddle, which takes seconds

    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as workspace:
        copy = Path(workspace)
        shutil.copyfile(folder / processor_file_name, copy / processor_file_name)
        try:
            translate_older_program(folder, copy)
        except Exception as error:  # Paddle raises errors of many kinds.
            raise UnreadableCheckpointError(
                f"{folder / OLDER_PROGRAM_FILE_NAME}, or its weights, cannot be read by this "
                f"version of Paddle: {first_line(error)}"
            ) from None
        # Paddle takes no notice when the file ends within the last tensor.
        weights = folder / PARAMETERS_FILE_NAME
        expected_bytes = (copy / PARAMETERS_FILE_NAME).stat().st_size
        if weights.stat().st_size < expected_bytes:
            raise UnreadableCheckpointError(
                f"{weights} is truncated: {weights.stat().st_size} bytes of {expected_bytes}"
            )
        yield copy
