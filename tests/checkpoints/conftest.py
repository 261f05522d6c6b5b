"""The tiny checkpoint that torch saved, and a way to damage it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovseg.settings import get_settings

GOLDEN_FOLDER = Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Where torch's files are: in the repository, or freshly made by `make test-reference`."""
    return Path(os.environ.get("OVSEG_GOLDEN_DIR", GOLDEN_FOLDER))


@pytest.fixture(scope="session")
def tiny_checkpoint(golden_folder: Path) -> Path:
    """A `sam_tiny` state dict, saved by torch."""
    return golden_folder / "sam_tiny.pth"


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """No test sees settings that another test's environment made."""
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
def rewrite_archive(tmp_path: Path) -> Callable[..., Path]:
    """Copy a torch archive with some of its members replaced (None: left out)."""

    def rewrite(
        source: Path,
        replacements: dict[str, bytes | None],
        compression: int = zipfile.ZIP_STORED,
    ) -> Path:
        target = tmp_path / f"rewritten-{source.name}"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
            for member in old.namelist():
                content = replacements.get(member.partition("/")[2], old.read(member))
                if content is not None:
                    new.writestr(member, content)
        return target

    return rewrite
