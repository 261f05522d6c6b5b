"""Where the project lies."""

from __future__ import annotations

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE_PHOTO = PROJECT_ROOT / "examples" / "photo.jpg"
