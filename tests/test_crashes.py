"""What is known when a test crashes the interpreter."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from ovseg.settings import PROJECT_ROOT

CRASHING = """
import pytest

@pytest.fixture
def with_paddle():
    import paddle

def test_that_crashes(with_paddle):
    import ctypes
    ctypes.string_at(0)
"""


def test_a_crash_says_in_which_test_it_was_even_after_paddle_was_imported(tmp_path: Path) -> None:
    (tmp_path / "test_crashing.py").write_text(CRASHING, "utf-8")
    (tmp_path / "conftest.py").symlink_to(Path(__file__).with_name("conftest.py"))

    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120)

    assert ended.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in ended.stderr
    assert "test_crashing.py" in ended.stderr and "in test_that_crashes" in ended.stderr
