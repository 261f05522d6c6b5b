"""Starting tritonserver: what is checked first, and how its failures are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovseg.server.errors import ServerStartError
from ovseg.server.ports import free_ports
from ovseg.server.triton_process import TritonProcess
from ovseg.server.triton_wheel import check_numpy, link_python_backend
from ovseg.settings import Settings


def settings_on_free_ports(**chosen: object) -> Settings:
    port, grpc_port, triton_http_port, metrics_port = free_ports(4)
    return Settings(
        port=port,
        grpc_port=grpc_port,
        triton_http_port=triton_http_port,
        metrics_port=metrics_port,
        **chosen,
    )


def test_numpy_2_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(ServerStartError, match=r"numpy 2.4.6 is installed.*needs numpy below 2"):
        check_numpy()


def test_a_python_without_a_stub_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="no stub for Python"):
        link_python_backend(tmp_path, tmp_path / "backends")


def test_a_model_that_is_not_installed_is_the_cause_in_one_line(tmp_path: Path) -> None:
    with TritonProcess(settings_on_free_ports(model_dir=tmp_path, model="nothing")) as triton:
        triton.start()
        with pytest.raises(ServerStartError) as caught:
            triton.wait_ready()
    message = str(caught.value)
    assert "no model is installed" in message and "ovseg import" in message
    assert "\n" not in message


def test_a_damaged_artefact_is_the_cause_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    for program in ("encoder", "prompt_decoder", "mask_encoder"):
        (folder / program).mkdir(parents=True)
        (folder / program / "inference.json").write_text("{")
        (folder / program / "inference.pdiparams").write_bytes(b"")
    from ovseg.manifest import PROGRAMS_VERSION, ModelManifest

    ModelManifest(
        name="broken",
        variant="sam_vit_b",
        kind="split",
        input_size=1024,
        embedding_shape=(256, 64, 64),
        parameters=1,
        source="test",
        source_sha256="",
        programs_version=PROGRAMS_VERSION,
    ).save(folder)
    with TritonProcess(settings_on_free_ports(model_dir=tmp_path, model="broken")) as triton:
        triton.start()
        with pytest.raises(ServerStartError, match=r"Paddle cannot load .*broken") as caught:
            triton.wait_ready()
    assert "\n" not in str(caught.value)
