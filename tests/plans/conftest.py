"""A fake TensorRT, and a small model with its ONNX graphs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovseg.checkpoints import self_check
from ovseg.checkpoints.plan_installing import install_plan
from ovseg.engines import choosing
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.exporting.tensorrt_plan import PlanRequest
from ovseg.settings import Settings, get_settings
from tests.plans.fake_tensorrt import Recorder, few_prompts, install_fake


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


@pytest.fixture(autouse=True)
def _few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "prompts_on", few_prompts)


@pytest.fixture(scope="session")
def installed_plan(graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    """The small model with a plan for batches of up to 3, and what was asked of TensorRT."""
    folder = tmp_path_factory.mktemp("plan") / "small"
    shutil.copytree(graphs, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_check, "prompts_on", few_prompts)
        recorder = install_fake(patch)
        install_plan(folder, Settings(threads=1), PlanRequest(max_batch=3))
    return folder, recorder  # Without the fake: other tests have no GPU.


@pytest.fixture
def model_with_plan(model: Path, installed_plan: tuple[Path, Recorder]) -> Path:
    """A copy of that which may be changed."""
    shutil.rmtree(model)
    shutil.copytree(installed_plan[0], model)
    return model


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
def _forget_the_machine() -> Iterator[None]:
    for cached in (choosing.available_precisions, get_settings):
        cached.cache_clear()
    yield
    for cached in (choosing.available_precisions, get_settings):
        cached.cache_clear()
