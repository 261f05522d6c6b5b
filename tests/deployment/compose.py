"""docker-compose.yml as `docker compose` reads it: variables put in, override files merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
PUBLIC_FILE = ROOT / "deploy" / "compose" / "public.yml"
GPU_FILE = ROOT / "deploy" / "compose" / "gpu.yml"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class MissingVariableError(ValueError):
    """`${NAME:?message}` without that variable."""


def load(*files: Path, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One document of several files, the later ones over the earlier.

    Raises:
        MissingVariableError: a variable that a file insists on is not among `variables`.
    """
    merged: Any = {}
    for file in files or (COMPOSE_FILE,):
        merged = _merge(merged, _with(yaml.safe_load(file.read_text("utf-8")), variables or {}))
    return dict(merged)


def variables_of(file: Path = COMPOSE_FILE) -> dict[str, str]:
    """Defaults of the variables that a file has, by name."""
    return {name: default for name, _, default in _VARIABLE.findall(file.read_text("utf-8"))}


def _with(node: Any, variables: Mapping[str, str]) -> Any:
    def value_of(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if value := variables.get(name):
            return value
        if operator != "-":
            raise MissingVariableError(f"{name}: {rest}")
        return str(rest)

    if isinstance(node, dict):
        return {key: _with(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_with(value, variables) for value in node]
    if isinstance(node, str) and _VARIABLE.search(node):
        return yaml.safe_load(_VARIABLE.sub(value_of, node)) or ""
    return node


def _merge(below: Any, above: Any) -> Any:
    """As the Compose specification has it: mappings merge, lists append, else the later counts."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            replaces = key not in below or key in ("command", "test")
            merged[key] = value if replaces else _merge(below[key], value)
        return merged
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    return above
