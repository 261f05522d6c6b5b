"""Why a tritonserver failed, from its log."""

from __future__ import annotations

import re

# "failed to load 'x' version 1: Internal: ValueError: why\n\nAt:\n  file(line)…", newlines escaped.
_STAGE_FAILURE = re.compile(
    r"failed to load '(?P<stage>\w+)' version \d+: \w+: (?P<cause>.*?)(?:\\n|\"?$)", re.MULTILINE
)


def logged_error(log: str) -> str:
    """The error that says best why it failed, in one line; "" if none was logged."""
    # A stage's own exception is the cause; what Triton logs after it only repeats that.
    if stage := _STAGE_FAILURE.search(log):
        return f"stage {stage['stage']}: {stage['cause']}"
    errors = [line for line in log.splitlines() if line.startswith(("E", "error"))]
    # That there is no GPU is an error to Triton, and fine.
    return next((_without_origin(line) for line in errors if "cuda" not in line.lower()), "")


def failure_cause(log: str) -> str:
    """As `logged_error`; if none was logged, the first line."""
    lines = log.splitlines()
    return logged_error(log) or (_without_origin(lines[0]) if lines else "its log is empty")


def _without_origin(line: str) -> str:
    """A line of the log without time and place."""
    return line.split("] ", 1)[-1].strip()
