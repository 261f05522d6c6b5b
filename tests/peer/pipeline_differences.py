"""In what two records of `pipeline_session.py` differ, and where they are expected to."""

from __future__ import annotations

from typing import Any

_PEER_OVERWRITES = "PaddleX writes all pages to one name, so that the last one is left"

EXPECTED: dict[str, tuple[set[str], str]] = {
    "boxes in an array": (
        {"printed"},
        "PaddleX prints numpy's abbreviated arrays, we print the numbers",
    ),
    "a point with a fraction": (
        {"files", "picture", "save_error"},
        "PaddleX cannot draw such a point, so it saves neither file",
    ),
    "two points": ({"error", "files", "results"}, "PaddleX takes one point"),
    "a PDF of two pages": ({"files"}, _PEER_OVERWRITES),
    "a TIFF file of two pages": ({"files"}, _PEER_OVERWRITES),
    "a GIF file": ({"error", "files", "results"}, "PaddleX reads no GIF files"),
    "another prompt type": ({"error"}, "the same exception in other words"),
}
"""Names of differences for a case, and why."""


def find_differences(theirs: dict[str, Any], mine: dict[str, Any]) -> set[str]:
    """Names of the differences between what PaddleX did and what we did on one case."""
    differences = set()
    if theirs["error"] != mine["error"]:
        differences.add("error")
    if len(theirs["results"]) != len(mine["results"]):
        differences.add("results")
    for one, other in zip(theirs["results"], mine["results"], strict=False):
        differences |= {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    if theirs["files"].keys() != mine["files"].keys():
        differences.add("files")
    for name in theirs["files"].keys() & mine["files"].keys():
        one, other = (_without_bytes(record["files"][name]) for record in (theirs, mine))
        if one != other:
            differences.add(f"content of {name}")
    return differences


def _without_bytes(file: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in file.items() if key != "bytes"}
