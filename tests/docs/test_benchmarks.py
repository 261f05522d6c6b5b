"""The benchmarks' documents say what their raw results say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ovseg.bench.markdown import to_markdown
from ovseg.bench.results import BenchmarkResult
from ovseg.settings import PROJECT_ROOT

RAW = sorted((PROJECT_ROOT / "docs" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("raw", RAW, ids=[file.stem for file in RAW])
def test_a_raw_result_makes_its_document_again(raw: Path) -> None:
    document = raw.with_suffix(".md").read_text("utf-8")
    plots = re.findall(r"^!\[(.+)\]", document, re.MULTILINE)
    if not plots:  # That there are none is noted after the raw result has been written.
        document = re.sub(r"^- Plots: .*\n", "", document, flags=re.MULTILINE)

    assert (
        to_markdown(TypeAdapter(BenchmarkResult).validate_json(raw.read_bytes()), plots) == document
    )


def test_there_are_such_results_of_trained_and_of_seeded_weights() -> None:
    results = [TypeAdapter(BenchmarkResult).validate_json(file.read_bytes()) for file in RAW]
    assert {result.seeded for result in results} == {True, False}
