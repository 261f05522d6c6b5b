"""The document of a benchmark: what was measured, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ovseg.bench.documents import write_documents
from ovseg.bench.markdown import to_markdown
from ovseg.bench.plots import write_plots
from ovseg.bench.results import BenchmarkResult, Fidelity, Latency, TargetResult, Throughput

FEW, MANY = "next prompt, 16 boxes", "next prompt, 64 boxes"
RESULT = BenchmarkResult(
    date="2026-01-02T03:04+00:00",
    model="sam_x",
    parameters=1,
    machine={"CPU": "a CPU", "cores": "2"},
    versions={"ovseg": "1", "numpy": "1.26"},
    options={},
    targets=[
        TargetResult("ours", "defaults", 2.5, 500_000_000),
        TargetResult("theirs", "defaults | shipped", 4.0, None),
    ],
    latencies=[
        Latency(FEW, "ours", [10.0, 20.0, 30.0]),
        Latency(FEW, "theirs", [100.0, 110.0, 120.0], ["boom"]),
        Latency(MANY, "ours", [68.0]),
        Latency(MANY, "theirs", [], ["status 500: no | masks"]),
    ],
    fidelity=[Fidelity(FEW, "theirs", [1.0, 0.5])],
    throughput=[
        Throughput("all new", 1, "ours", 10.0, [100.0] * 20),
        Throughput("all new", 1, "theirs", 10.0, [900.0], 1, ["boom"], unanswered=3),
        Throughput("all new", 4, "ours", 10.0, [150.0] * 30),
    ],
    notes=["The plugin does not run:\nno such wheel"],
)


def rows_with(document: str, text: str) -> list[list[str]]:
    """Cells of the table rows that begin with it."""
    lines = [line for line in document.splitlines() if line.startswith(f"| {text}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_latency_shows_medians_spread_ratio_and_failures() -> None:
    (row,) = rows_with(to_markdown(RESULT), FEW + " |")[:1]

    assert row[1] == "20.0 (15.0–25.0)"
    assert row[2] == "110.0 (105.0–115.0), 1 failed **5.5×**"
    assert row[3] == "3"


def test_a_server_that_only_failed_has_no_time_and_no_ratio() -> None:
    (row,) = rows_with(to_markdown(RESULT), MANY)

    assert row[2] == "failed: status 500: no / masks"
    assert "×" not in row[2]


def test_the_cost_of_a_further_box_is_given_where_it_is_known() -> None:
    (row,) = rows_with(to_markdown(RESULT), "each further box")

    assert row[1:] == ["1.00", "–"]


def test_throughput_shows_failures_and_unanswered_requests() -> None:
    ours, theirs, _ = rows_with(to_markdown(RESULT), "all new")

    assert ours == ["all new", "1", "ours", "2.00", "100", "100", "100", "0", "0"]
    assert theirs[3:] == ["0.10", "900", "900", "900", "1", "3"]


def test_fidelity_memory_notes_and_versions_are_there() -> None:
    document = to_markdown(RESULT, ["x.svg"])

    assert rows_with(document, FEW)[-1] == [FEW, "theirs", "2", "0.75000", "0.50000"]
    assert rows_with(document, "ours")[0] == ["ours", "defaults", "2.5", "500"]
    assert "- The plugin does not run: no such wheel\n" in document
    assert "ovseg 1, numpy 1.26." in document
    assert "![x.svg](x.svg)" in document


def test_without_throughput_there_is_no_such_section() -> None:
    assert "## Throughput" not in to_markdown(replace(RESULT, throughput=[]))


def test_documents_are_written_and_the_raw_numbers_are_in_the_json(tmp_path: Path) -> None:
    document = write_documents(replace(RESULT, notes=[]), tmp_path / "new", "stem")

    assert document == tmp_path / "new" / "stem.md"
    raw = json.loads((tmp_path / "new" / "stem.json").read_bytes())
    assert raw["latencies"][0]["milliseconds"] == [10.0, 20.0, 30.0]
    assert raw["throughput"][1]["unanswered"] == 3


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the optional part `bench` is not installed")
    names = write_plots(RESULT, tmp_path, "stem")

    assert names == ["stem-latency.svg", "stem-throughput.svg"]
    for name in names:
        assert "<svg" in (tmp_path / name).read_text("utf-8")
    assert write_plots(replace(RESULT, throughput=[]), tmp_path, "s") == ["s-latency.svg"]
