"""A stranger who reaches Triton's ports can infer, and can change nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.private_folder import private_folder
from ovseg.server.service import Service
from ovseg.server.triton_admin import ADMIN_HEADER, admin_client
from ovseg.settings import EXAMPLE_PHOTO
from tests.conftest import STANDIN_MODELS

STAGE = "visualize"
GRPC_HEADER = f"triton-grpc-protocol-{ADMIN_HEADER}"


@pytest.fixture(scope="module")
def service(standin_service: Service) -> Service:
    return standin_service


@pytest.fixture(scope="module")
def started_with(service: Service) -> dict[str, str]:
    """The service's settings."""
    return psutil.Process(service.process.pid).environ()


@pytest.fixture(scope="module")
def http_port(started_with: dict[str, str]) -> int:
    return int(started_with["OVSEG_TRITON_HTTP_PORT"])


@pytest.fixture(scope="module")
def model_dir(started_with: dict[str, str]) -> Iterator[Path]:
    """The service's models, with one that it does not serve: `another`."""
    folder = Path(started_with["OVSEG_MODEL_DIR"])
    install_paddlex_model([STANDIN_MODELS / "SAM-H_box"], folder, "another")
    yield folder
    shutil.rmtree(folder / "another")


@pytest.fixture(scope="module")
def stranger(service: Service) -> Iterator[Any]:
    with triton.InferenceServerClient(service.grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def secret_file(service: Service) -> Path:
    return private_folder("admin") / service.grpc_address.rpartition(":")[2]


GRPC_CALLS: dict[str, Callable[..., Any]] = {
    "index": lambda client, **k: client.get_model_repository_index(**k),
    "load": lambda client, **k: client.load_model(STAGE, **k),
    "load with a configuration": lambda client, **k: client.load_model(
        STAGE, config='{"backend": "python"}', **k
    ),
    "unload": lambda client, **k: client.unload_model(STAGE, **k),
    "system shared memory": lambda client, **k: client.register_system_shared_memory(
        "region", "/ovseg", 64, **k
    ),
    "shared memory status": lambda client, **k: client.get_system_shared_memory_status(**k),
    "cuda shared memory": lambda client, **k: client.unregister_cuda_shared_memory(**k),
    "trace": lambda client, **k: client.update_trace_settings(
        settings={"trace_file": "/tmp/ovseg-trace"}, **k
    ),
    "log": lambda client, **k: client.update_log_settings({"log_file": "/tmp/ovseg-log"}, **k),
}

HTTP_CALLS = [
    ("POST", "/v2/repository/index", ""),
    ("POST", f"/v2/repository/models/{STAGE}/load", ""),
    ("POST", f"/v2/repository/models/{STAGE}/unload", ""),
    ("GET", "/v2/systemsharedmemory/status", ""),
    ("POST", "/v2/systemsharedmemory/region/r/register", '{"key": "/r", "offset": 0}'),
    ("POST", "/v2/trace/setting", '{"trace_file": "/tmp/ovseg-trace"}'),
    ("POST", "/v2/logging", '{"log_file": "/tmp/ovseg-log"}'),
]


@pytest.mark.parametrize("headers", [None, {GRPC_HEADER: "0" * 64}], ids=["none", "wrong"])
@pytest.mark.parametrize("call", GRPC_CALLS)
def test_a_stranger_is_refused_over_grpc(
    stranger: Any, call: str, headers: dict[str, str] | None
) -> None:
    with pytest.raises(InferenceServerException, match="restricted"):
        GRPC_CALLS[call](stranger, headers=headers)


@pytest.mark.parametrize("headers", [{}, {ADMIN_HEADER: "0" * 64}], ids=["none", "wrong"])
@pytest.mark.parametrize(("method", "path", "content"), HTTP_CALLS)
def test_a_stranger_is_refused_over_http(
    service: Service, http_port: int, method: str, path: str, content: str, headers: dict[str, str]
) -> None:
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{http_port}{path}",
        content=content,
        headers=headers,
        trust_env=False,
    )
    assert answer.status_code == 403, answer.text


def test_asking_and_inferring_stay_open(service: Service, stranger: Any, http_port: int) -> None:
    assert stranger.is_server_ready()
    assert stranger.get_model_config(STAGE).config.name == STAGE
    names = {entry.name for entry in stranger.get_inference_statistics().model_stats}
    assert STAGE in names
    ready = httpx.get(f"http://127.0.0.1:{http_port}/v2/health/ready", trust_env=False)
    assert ready.status_code == 200
    for address in (service.base_url, f"grpc://{service.grpc_address}"):
        asked = ovseg(
            service, "predict", str(EXAMPLE_PHOTO), "--box=150,12,300,150", f"--url={address}"
        )
        assert asked.returncode == 0, asked.stderr


def test_the_user_who_started_it_loads_and_unloads(service: Service, model_dir: Path) -> None:
    for command in ("load", "unload"):
        done = ovseg(service, command, "another", OVSEG_MODEL_DIR=str(model_dir))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "model"), [("load", "another"), ("unload", "SAM-H")])
def test_another_user_of_the_machine_cannot_load_or_unload(
    service: Service, model_dir: Path, tmp_path: Path, command: str, model: str
) -> None:
    # With another folder of temporary files the secret is not found, as it is for another user.
    failed = ovseg(service, command, model, OVSEG_MODEL_DIR=str(model_dir), TMPDIR=str(tmp_path))
    assert failed.returncode == 1
    assert "OVSEG_TRITON_OPEN_PROTOCOLS" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_only_this_user_can_read_the_secret(secret_file: Path) -> None:
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret_file.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(secret_file.read_text())) == 32


def test_no_command_line_shows_the_secret(service: Service, secret_file: Path) -> None:
    secret = secret_file.read_bytes()
    command_lines = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command_lines[file] = file.read_bytes()
        except OSError:
            continue
    port = service.grpc_address.rpartition(":")[2].encode()
    ours = [line for line in command_lines.values() if b"--grpc-port=" + port in line]
    assert len(ours) == 1
    assert ADMIN_HEADER.encode() in ours[0]
    assert not any(secret in line for line in command_lines.values())


def test_the_secret_is_sent_to_no_other_machine(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, str]] = []
    for host in ("127.0.0.1", "localhost", "192.0.2.1"):
        request = triton.Request(None)
        with admin_client(f"{host}:{secret_file.name}") as client:
            client.plugin()(request)
        sent.append(request.headers)
    assert sent == [{GRPC_HEADER: secret_file.read_text()}] * 2 + [{}]


def ovseg(service: Service, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    port = service.grpc_address.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, "-m", "ovseg", *arguments],
        env={**os.environ, "OVSEG_GRPC_PORT": port, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
