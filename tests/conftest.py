"""Services that the tests talk to: the real tritonserver and the real gateway, once a session."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.server.service import Service
from tests.bundled_model import copy_bundled_model
from tests.shared_service import shared_service

STANDIN_MODELS = Path(__file__).parent / "contract" / "data" / "standin_models"
_TERMINAL = pytest.StashKey[int]()
"""A file descriptor of pytest's own standard error, which is not captured."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TERMINAL] = os.dup(2)
    # A converter that aborts in a fork of its own is expected, and no crash of the tests.
    os.register_at_fork(after_in_child=faulthandler.disable)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's `&` has it ignored, in every child too: the tests of Ctrl-C would wait for ever.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _report_crashes(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _report_crashes(item)


def _report_crashes(item: pytest.Item) -> None:
    """Take the signal handlers back from Paddle, which a fixture or a test may have imported.

    Paddle's own write to the captured standard error: a crash would end pytest without a word.
    """
    faulthandler.disable()
    faulthandler.enable(file=item.config.stash[_TERMINAL])


@pytest.fixture(scope="session")
def standin_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the stand-in models that the peer served when its answers were recorded."""
    model_dir = tmp_path_factory.mktemp("standin-models")
    install_paddlex_model(
        [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"], model_dir, "SAM-H"
    )
    with shared_service({"OVSEG_MODEL_DIR": str(model_dir), "OVSEG_MODEL": "SAM-H"}) as service:
        yield service


@pytest.fixture(scope="session")
def mini_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the bundled default model."""
    model_dir = copy_bundled_model(tmp_path_factory.mktemp("mini") / "models")
    with shared_service({"OVSEG_MODEL_DIR": str(model_dir), "OVSEG_MODEL": "sam_mini"}) as service:
        yield service


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an installed model of our own network that runs in milliseconds."""
    # These import Paddle, which takes seconds: only for the tests that need it.
    from ovseg.network.variants import VARIANTS
    from tests.small_model import SMALL, install_small_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, SMALL.name, SMALL)
        yield install_small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def exported_model(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in PaddleX's format: a folder with `SAM-H_box` and `SAM-H_point`."""
    from ovseg.exporting.export_model import export_model

    folder = tmp_path_factory.mktemp("exported") / "paddlex"
    export_model(small_model, "paddlex", folder)
    return folder
