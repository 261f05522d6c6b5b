"""The table of a model's self-check, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ovseg.manifest import ModelManifest


def print_checks(manifest: ModelManifest) -> None:
    """Write a line for each engine and precision to standard error; nothing if there was none."""
    if not manifest.checks:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("part", "engine", "precision"):
        table.add_column(column, no_wrap=True)
    for column in ("ms", "mask IoU mean", "lowest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict")
    for check in manifest.checks:
        # A candidate that could not run was not measured.
        figures = ("", "", "")
        if check.seconds:
            figures = (
                f"{1000 * check.seconds:,.0f}",
                f"{check.mean_iou:.4f}",
                f"{check.min_iou:.4f}",
            )
        verdict = "accepted" if check.accepted else f"refused: {check.reason}"
        table.add_row(check.part, check.engine, check.precision, *figures, verdict)
    Console(stderr=True, highlight=False, markup=False).print(table)
