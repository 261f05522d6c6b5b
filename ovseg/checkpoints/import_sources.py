"""`ovseg import`: whatever the sources are, install them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from ovseg.checkpoints.archives import is_archive, unpacked
from ovseg.checkpoints.errors import CheckpointError, UnreadableCheckpointError
from ovseg.checkpoints.installing import check_name
from ovseg.checkpoints.paddlex import (
    PROCESSOR_FILE_NAME,
    install_paddlex_model,
    is_paddlex_folder,
)
from ovseg.manifest import ModelManifest
from ovseg.settings import EngineName


def import_sources(
    sources: Sequence[Path],
    model_dir: Path,
    model: str | None = None,
    name: str | None = None,
    progress: Callable[[str], None] | None = None,
    engine: EngineName = "auto",
) -> ModelManifest:
    """Install a model from files or folders of any known kind, recognised by their content.

    Args:
        sources: one checkpoint file, Hugging Face folder, or tar archive of one; or one or two
            PaddleX inference models, folders or tar archives.
        model_dir: folder of installed models; made if it is missing.
        model: a variant's name, which the source must agree with; any other text is a name to
            install under.
        name: the name to install under; by default the variant's, or what PaddleX calls it.
        progress: called with a line for people at each step.
        engine: what to run the model with, unless a deployment's settings name another.

    Raises:
        CheckpointError: the model cannot be imported; one line, and nothing is left behind.
    """
    tell = progress or (lambda _line: None)
    if name is not None:
        check_name(name)
    for source in sources:
        if not source.exists():
            raise UnreadableCheckpointError(f"{source} does not exist")
    with ExitStack() as stack:
        originals = [*sources]
        sources = []
        for source in originals:
            if is_archive(source):
                tell(f"unpacking {source.name}")
                source = stack.enter_context(unpacked(source, model_dir))
            sources.append(source)
        if all(is_paddlex_folder(source) for source in sources):
            installed_name = name or model or _paddlex_name(sources)
            check_name(installed_name)
            tell(f"installing {', '.join(source.name for source in originals)}")
            return install_paddlex_model(sources, model_dir, installed_name, tell, engine)
        if len(sources) > 1:
            raise CheckpointError("several sources must all be PaddleX inference models")
        # These import Paddle, which takes seconds.
        from ovseg.checkpoints.importing import import_checkpoint
        from ovseg.network.variants import VARIANTS

        variant = model if model in VARIANTS else None
        installed_as = name or (model if variant is None else None)
        return import_checkpoint(sources[0], variant, model_dir, installed_as, progress, engine)


def _paddlex_name(folders: Sequence[Path]) -> str:
    """What the models call themselves; of two, what their names have in common.

    Raises:
        CheckpointError: they do not say, or have nothing in common.
    """
    names = []
    for folder in folders:
        try:
            names.append(
                str(
                    yaml.safe_load((folder / PROCESSOR_FILE_NAME).read_text("utf-8"))["Global"][
                        "model_name"
                    ]
                )
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
            raise CheckpointError(
                f"{folder / PROCESSOR_FILE_NAME} does not name its model; give a name with --model"
            ) from None
    common = os.path.commonprefix(names).rstrip("_- ")  # noqa: RUF071 (of texts, not paths)
    if not common:
        raise CheckpointError(f"{' and '.join(names)}: give a name for the two with --model")
    return common
