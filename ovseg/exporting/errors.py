"""What can go wrong with an export. Every message is one line, meant for the user."""

from __future__ import annotations


class ExportError(Exception):
    """A model cannot be exported."""
