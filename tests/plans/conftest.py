"""A fake TensorRT, and a small model with its ONNX graphs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ovseg.engines import choosing
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.settings import Settings
from tests.plans.fake_tensorrt import Recorder, install_fake


@pytest.fixture(scope="session")
def graphs(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with its ONNX graphs, for those who only read it."""
    folder = tmp_path_factory.mktemp("graphs") / "small"
    shutil.copytree(small_model, folder)
    write_onnx_graphs(folder, print)
    return folder


@pytest.fixture
def model(graphs: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    folder = tmp_path / "models" / "small"
    shutil.copytree(graphs, folder)
    return folder


@pytest.fixture
def settings(model: Path) -> Settings:
    """Settings under which the copy is served."""
    return Settings(model_dir=model.parent, model=model.name, threads=1)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A machine with TensorRT and a GPU."""
    choosing.available_precisions.cache_clear()
    return install_fake(monkeypatch)


@pytest.fixture(autouse=True)
def _forget_the_machine() -> None:
    choosing.available_precisions.cache_clear()
