"""Shared memory of supervisors that were killed is removed, that of living ones is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovseg.server import shared_memory


def test_only_regions_of_dead_supervisors_are_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY_FOLDER", tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    mine = tmp_path / f"{shared_memory.shared_memory_prefix(os.getpid())}region"
    stale = tmp_path / f"{shared_memory.shared_memory_prefix(ended.pid)}region"
    others = [tmp_path / "ovseg_notes", tmp_path / "triton_python_backend_shm_region_1"]
    for file in (mine, stale, *others):
        file.touch()
    shared_memory.remove_stale_regions()
    assert mine.exists() and all(other.exists() for other in others)
    assert not stale.exists()
    shared_memory.remove_regions(shared_memory.shared_memory_prefix(os.getpid()))
    assert not mine.exists()
