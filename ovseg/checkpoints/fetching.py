"""`ovseg fetch`: download a published model, check it, install it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from ovseg.checkpoints.downloading import Report, RetryPolicy, download
from ovseg.checkpoints.errors import UnknownVariantError
from ovseg.checkpoints.first_use import check_first_use, is_trusted
from ovseg.checkpoints.import_sources import import_sources
from ovseg.checkpoints.installed import State, find_installed_models
from ovseg.checkpoints.installing import describe_sources
from ovseg.checkpoints.published import PUBLISHED_MODELS, PublishedFile, PublishedModel
from ovseg.manifest import ModelManifest

DOWNLOAD_FOLDER = ".downloads"
# Disk space an import takes, in sizes of the download: the installed model, and for an archive
# what is unpacked from it too.
IMPORT_COPIES = 2

Reporter = Callable[[PublishedFile], Report]


def find_published(name: str) -> PublishedModel:
    """The published model of a name.

    Raises:
        UnknownVariantError: there is none; one line with all names.
    """
    if name not in PUBLISHED_MODELS:
        raise UnknownVariantError(
            f"{name} is not a model that can be fetched; choose from {', '.join(PUBLISHED_MODELS)}"
        )
    return PUBLISHED_MODELS[name]


def is_fetched(model: PublishedModel, model_dir: Path) -> bool:
    """Whether the model is installed, complete, from its publisher's files."""
    urls = tuple(file.url for file in model.files)
    return any(
        installed.folder.name == model.name
        and installed.state is not State.DAMAGED
        and installed.manifest is not None
        and installed.manifest.source_urls == urls
        for installed in find_installed_models(model_dir)
    )


def fetch_model(
    model: PublishedModel,
    model_dir: Path,
    reporter: Reporter,
    progress: Callable[[str], None],
    accept_change: bool = False,
    keep: bool = False,
    policy: RetryPolicy | None = None,
) -> ModelManifest:
    """Download and install a published model.

    An interrupted download waits in `<model_dir>/.downloads` and is resumed by the next call.

    Args:
        model: what to fetch.
        model_dir: folder of installed models.
        reporter: called with each file; returns what follows its download.
        progress: called with a line for people at each step.
        accept_change: take a file of unknown checksum although it differs from an earlier one.
        keep: leave the downloaded files in place.
        policy: when to try again.

    Raises:
        CheckpointError: one line; an installed model of that name stays as it was.
    """
    folder = model_dir / DOWNLOAD_FOLDER
    copies = IMPORT_COPIES * (model.approximate_bytes // len(model.files))
    paths = []
    for file in model.files:
        path = folder / file.name
        if not is_trusted(file, path):  # else an earlier run got it, and was interrupted later
            progress(f"downloading {file.url}")
            download(file, folder, reporter(file), copies, policy)
        if file.sha256 is None:
            try:
                check_first_use(file, path, accept_change)
            except BaseException:
                path.unlink()
                raise
        paths.append(path)
    sources = describe_sources(paths)
    manifest = import_sources(paths, model_dir, model.variant, model.name, progress)
    manifest = replace(
        manifest,
        source=", ".join(file.name for file in model.files),
        source_files=sources,
        source_urls=tuple(file.url for file in model.files),
        source_checksum="known" if model.has_checksums else "first use",
    )
    manifest.save(model_dir / model.name)
    if not keep:
        for path in paths:
            path.unlink()
    return manifest
