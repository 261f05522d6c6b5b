"""Writes what a benchmark found: raw JSON, plots, and the document that shows them."""

from __future__ import annotations

from pathlib import Path

import orjson

from ovseg.bench.markdown import to_markdown
from ovseg.bench.plots import write_plots
from ovseg.bench.results import BenchmarkResult


def write_documents(result: BenchmarkResult, folder: Path, stem: str) -> Path:
    """Write `<stem>.json`, plots where matplotlib is installed, and `<stem>.md`; returns the last.

    What cannot be drawn becomes a note of the document.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    try:
        plots = write_plots(result, folder, stem)
    except ImportError:
        plots = []
        result.notes.append("Plots: matplotlib is not installed (the optional part `bench`).")
    document = folder / f"{stem}.md"
    document.write_text(to_markdown(result, plots), "utf-8")
    return document
