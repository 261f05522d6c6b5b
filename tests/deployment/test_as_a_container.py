"""The compose file's commands, with its environment, where a container would run them."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.settings import EXAMPLE_PHOTO
from ovseg.tokens import new_token, token_hash_entry
from tests.conftest import STANDIN_MODELS
from tests.deployment.compose import ROOT, load
from tests.deployment.sandbox import Sandbox, why_not

TOKEN = new_token()
SERVICES = load(variables={"OVSEG_MODEL": "SAM-H_box"})["services"]
_STOP_TIMEOUT_S = 300  # More than the grace period: this machine may be a slow one.
PREDICT = ["ovseg", "predict", str(EXAMPLE_PHOTO), "--box", "150,12,300,150", "--json"]

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def environment_of(name: str) -> dict[str, str]:
    """What the image and the compose file set."""
    image = re.search(r"^ENV PATH=\S+ (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image
    own = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    return dict(pair.split("=", 1) for pair in image.group(1).split()) | own


@dataclass
class Containers:
    """Both, running."""

    sandbox: Sandbox
    processes: dict[str, subprocess.Popen[bytes]]
    folder: Path


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    folder = tmp_path_factory.mktemp("containers")
    secrets = {"ovseg_token_hashes": token_hash_entry("camera", TOKEN) + "\n"}
    sandbox = Sandbox(folder, list(SERVICES), secrets, SERVICES["triton"]["tmpfs"])
    install_paddlex_model([STANDIN_MODELS / "SAM-H_box"], sandbox.models, "SAM-H_box")
    with sandbox:
        processes = {}
        for name in ("triton", "gateway"):  # As `depends_on` has it.
            log = folder / f"{name}.log"
            command = ["ovseg", *SERVICES[name]["command"]]
            processes[name] = sandbox.start(command, environment_of(name), log)
            check = SERVICES[name]["healthcheck"]["test"][1:]
            try:
                sandbox.wait_until(check, processes[name], timeout_s=180)
            except RuntimeError as error:
                pytest.fail(f"{error}\n{log.read_text()}")
        yield Containers(sandbox, processes, folder)


def test_the_sandbox_is_as_narrow_as_a_container(containers: Containers) -> None:
    narrow = (
        "id -u; touch /x /etc/x; grep -h ^CapBnd /proc/self/status; ls /run/secrets /work /root"
    )
    said = containers.sandbox.run(["sh", "-c", narrow])
    assert said.stdout.startswith("10001\n")
    assert said.stderr.count("Read-only file system") == 2
    assert "CapBnd:\t0000000000000000" in said.stdout
    assert "ovseg_token_hashes" in said.stdout


def test_a_request_is_answered_from_gateway_to_triton(containers: Containers) -> None:
    answered = containers.sandbox.run(PREDICT, {"OVSEG_TOKEN": TOKEN})
    assert answered.returncode == 0, answered.stderr
    assert '"counts"' in answered.stdout


def test_the_token_in_the_secret_file_is_asked_for(containers: Containers) -> None:
    asking = """
import sys, urllib.error, urllib.request as u
request = u.Request("http://127.0.0.1:8080/metrics", headers={"Authorization": sys.argv[1]})
try:
    print(u.urlopen(request, timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    for token, status in ((TOKEN, "200\n"), (new_token(), "401\n")):
        said = containers.sandbox.run(["python", "-c", asking, f"Bearer {token}"])
        assert said.stdout == status


def test_a_model_is_loaded_again_in_the_running_container(containers: Containers) -> None:
    # `docker compose exec triton ovseg load SAM-H_box`
    loaded = containers.sandbox.run(["ovseg", "load", "SAM-H_box"], environment_of("triton"))
    assert loaded.returncode == 0, loaded.stderr
    assert "SAM-H_box is served" in loaded.stdout


def test_it_stops_cleanly(containers: Containers) -> None:
    for name in ("gateway", "triton"):
        process = containers.processes[name]
        # The engine's signal goes to the container's first process; `nsenter` waits for its child.
        inside = containers.sandbox.run(["pgrep", "-f", f"ovseg serve {name}"]).stdout.split()
        containers.sandbox.run(["kill", f"-{signal.SIGTERM.value}", *inside])
        assert process.wait(_STOP_TIMEOUT_S) == 0, (containers.folder / f"{name}.log").read_text()
