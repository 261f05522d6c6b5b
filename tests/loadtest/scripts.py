"""The scripts of `loadtest/`, which is no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "loadtest"


def load_script(name: str) -> ModuleType:
    """Import `loadtest/<name>.py`, under a name that collides with no installed package."""
    spec = importlib.util.spec_from_file_location(f"loadtest_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
