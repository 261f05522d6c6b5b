"""Settings that name several things, separated by commas."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """`a, b,,a` -> ("a", "b")."""
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))
