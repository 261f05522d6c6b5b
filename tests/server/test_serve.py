"""`ovseg serve` as a person uses it: starts, answers, stops, and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.private_folder import private_folder
from ovseg.server.errors import ServerStartError
from ovseg.server.service import running_service

STANDIN_BOX_MODEL = Path(__file__).parents[1] / "contract/data/standin_models/SAM-H_box"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    install_paddlex_model([STANDIN_BOX_MODEL], folder, "SAM-H_box")
    return folder


def environment(model_dir: Path) -> dict[str, str]:
    return {"OVSEG_MODEL_DIR": str(model_dir), "OVSEG_MODEL": "SAM-H_box"}


def processes_below(pid: int) -> list[int]:
    """Process ids of all descendants."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(status.parent.name)
            found += [child, *processes_below(child)]
    return found


def shared_memory_of(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"ovseg_{pid}_*"))


def wait_until_gone(pids: list[int], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_stops_it_cleanly_and_nothing_is_left(model_dir: Path) -> None:
    with running_service(environment(model_dir)) as service:
        pid = service.process.pid
        children = processes_below(pid)
        assert len(children) >= 6  # tritonserver and the five stages
        assert shared_memory_of(pid)
        secret = private_folder("admin") / service.grpc_address.rpartition(":")[2]
        assert secret.exists()
        # A fused model: its decoder is the whole program.
        assert "engines  encoder none, decoder paddle fp32" in service.output_file.read_text()
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(30) == 0
    assert wait_until_gone(children)
    assert not shared_memory_of(pid)
    assert not secret.exists()


def test_a_killed_supervisor_takes_its_processes_with_it(model_dir: Path) -> None:
    with running_service(environment(model_dir)) as service:
        children = processes_below(service.process.pid)
        service.process.kill()
        assert wait_until_gone(children, timeout_s=20)


def test_a_port_in_use_is_told_before_anything_starts(model_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(
                ServerStartError, match=rf"port {port} on 127.0.0.1 is in use.*OVSEG_PORT"
            ),
            running_service({**environment(model_dir), "OVSEG_PORT": port}),
        ):
            pytest.fail("it started on a taken port")


def test_a_wrong_setting_is_one_line_naming_the_variable() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ovseg", "serve"],
        env={**os.environ, "OVSEG_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: OVSEG_PORT: ")
    assert "Traceback" not in ended.stderr
