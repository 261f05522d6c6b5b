"""Services that the tests talk to: the real tritonserver and the real gateway, once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.server.service import Service, running_service

STANDIN_MODELS = Path(__file__).parent / "contract" / "data" / "standin_models"


@pytest.fixture(scope="session")
def standin_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the stand-in models that the peer served when its answers were recorded."""
    model_dir = tmp_path_factory.mktemp("standin-models")
    install_paddlex_model(
        [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"], model_dir, "SAM-H"
    )
    with running_service({"OVSEG_MODEL_DIR": str(model_dir), "OVSEG_MODEL": "SAM-H"}) as service:
        yield service


@pytest.fixture(scope="session")
def mini_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the bundled default model, prepared as on a fresh machine."""
    model_dir = tmp_path_factory.mktemp("models")
    with running_service({"OVSEG_MODEL_DIR": str(model_dir), "OVSEG_MODEL": "sam_mini"}) as service:
        yield service
