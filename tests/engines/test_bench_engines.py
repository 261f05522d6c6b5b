"""`ovseg bench engines`: every engine has its row, and the arithmetic is counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovseg.bench import arithmetic
from ovseg.cli.main import app
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.settings import get_settings


def test_a_row_for_each_engine(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_model, tmp_path / "small")
    write_onnx_graphs(tmp_path / "small", print)
    monkeypatch.setattr(arithmetic, "GEMM_SIDE", 256)
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    get_settings.cache_clear()
    output = tmp_path / "engines.md"
    arguments = ["bench", "engines", "small", "--rounds", "1", "--runs", "1", "-o", str(output)]
    result = CliRunner().invoke(app, arguments)
    get_settings.cache_clear()
    assert result.exit_code == 0, result.output
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in output.read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    by_engine = {(row[0], row[1]): row for row in rows}
    assert by_engine["Paddle Inference, as PaddleX sets it", "fp32"][3] == "1.00 (1.00–1.00)"
    for engine in ("openvino", "onnxruntime", "paddle"):
        assert by_engine[engine, "fp32"][9] == "1.0000 / 1.0000"
    # Its matrices are too small for int8: the row says so, the others are there all the same.
    assert "no large matrices" in by_engine["openvino", "int8"][2]


def test_operations_are_counted(small_model: Path, tmp_path: Path) -> None:
    shutil.copytree(small_model, tmp_path / "small")
    write_onnx_graphs(tmp_path / "small", print)
    tokens, dim, window = 64 * 64, 16, 14
    padded = 70 * 70  # 64 rounded up to whole windows
    patches = 2 * tokens * dim * 3 * 4 * 4
    projections = 2 * (tokens * 3 * dim * dim + tokens * dim * dim + 2 * tokens * 4 * dim * dim)
    # Scores of two heads with 8 channels and 28 position codes each, the weighted sum of values,
    # and the position scores.
    attention = 2 * padded * window**2 * 2 * (8 + 2 * window) + 2 * padded * window**2 * dim
    positions = 2 * 2 * padded * window * dim
    neck = 2 * tokens * dim * 32 + 2 * tokens * 32 * 32 * 9
    expected = patches + 2 * (projections + attention + positions) + neck
    assert arithmetic.count_flops(tmp_path / "small" / "encoder") == pytest.approx(expected)
