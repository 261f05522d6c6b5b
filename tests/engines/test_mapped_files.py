"""Pages of a mapped file are given back, and can still be read."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import numpy as np
import pytest

from ovseg.engines.artefacts import PARAMETERS_FILE_NAME
from ovseg.engines.mapped_files import release_pages, releasing_pages
from ovseg.engines.openvino import OpenVinoEngine
from tests.bundled_model import copy_bundled_model

SIZE = 1 << 20


def resident_bytes(file: Path) -> int:
    """What the mappings of a file take of this process's memory (proc_pid_smaps(5))."""
    total, is_ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0] in "0123456789abcdef":
            is_ours = line.endswith(f" {file.resolve()}")
        elif is_ours and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file with spaces"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


def test_pages_are_given_back_and_read_again(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        content = bytes(mapping)
        assert resident_bytes(file) == SIZE
        assert release_pages(file) == SIZE
        assert resident_bytes(file) == 0
        assert bytes(mapping) == content == file.read_bytes()


def test_what_was_written_to_a_private_mapping_stays(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as copy:
        copy[:4] = b"mine"
        assert release_pages(file) == 0
        assert copy[:4] == b"mine"


def test_another_file_is_left_alone(file: Path, tmp_path: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert len(bytes(mapping)) == SIZE
        assert release_pages(tmp_path / "a file") == 0
        assert resident_bytes(file) == SIZE


def test_pages_are_given_back_while_something_reads(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        with releasing_pages(file):
            for _ in range(2):
                content = bytes(mapping)
                deadline = time.monotonic() + 60
                while resident_bytes(file):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            assert content == bytes(mapping)
        assert resident_bytes(file) == 0
        assert bytes(mapping) == content
        assert resident_bytes(file) == SIZE, "nobody gives them back any more"


def test_openvino_holds_one_copy_of_the_weights(tmp_path: Path) -> None:
    program = copy_bundled_model(tmp_path) / "sam_mini" / "prompt_decoder"
    weights = program / PARAMETERS_FILE_NAME
    most = 0.1 * weights.stat().st_size
    engine = OpenVinoEngine(program, 1, "fp32")
    # Still mapped, so that OpenVINO may come back to it.
    assert str(weights.resolve()) in Path("/proc/self/maps").read_text()
    assert resident_bytes(weights) < most
    engine.run(
        embedding=np.zeros((1, 64, 64, 256), np.float32),
        point_coords=np.zeros((1, 2, 2), np.float32),
        point_labels=np.ones((1, 2), np.int32),
        mask_index=np.zeros(1, np.int32),
    )
    # The first run reads what was not laid out before.
    assert resident_bytes(weights) < most
