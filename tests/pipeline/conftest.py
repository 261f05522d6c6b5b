"""Settings for pipelines that find no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.server.ports import free_ports
from tests.conftest import STANDIN_MODELS


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with the stand-in models, as the model SAM-H."""
    folder = tmp_path_factory.mktemp("models")
    install_paddlex_model(
        [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"], folder, "SAM-H"
    )
    return folder


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, model_dir: Path) -> None:
    """Settings at whose address nothing answers."""
    monkeypatch.delenv("OVSEG_URL", raising=False)
    monkeypatch.setenv("OVSEG_PORT", str(free_ports(1)[0]))
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(model_dir))
    monkeypatch.setenv("OVSEG_MODEL", "SAM-H")
