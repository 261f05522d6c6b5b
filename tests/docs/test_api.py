"""docs/API.md is what it is made of, and each of its examples runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ovseg_client import Client

from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO, PROJECT_ROOT

EXAMPLES = {
    "examples/rest/segment.sh": ["bash"],
    "examples/rest/segment.py": [sys.executable],
    "examples/rest/segment.mjs": ["node"],
    "examples/rest/segment.go": ["go", "run"],
    "examples/rest/Segment.java": ["java"],
    "examples/grpc/segment.py": [sys.executable],
}
BOX = [150, 12, 300, 150]
"""What the examples ask for."""


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate", PROJECT_ROOT / "docs" / "api" / "generate.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counts(mini_service: Service) -> str:
    """The answer to the examples' question."""
    with Client(mini_service.base_url) as client:
        return client.predict(EXAMPLE_PHOTO, boxes=[BOX]).flat_rles[0]["counts"]


def run_example(
    example: str, environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    command = EXAMPLES[example]
    if shutil.which(command[0]) is None or (command == ["bash"] and shutil.which("curl") is None):
        pytest.skip(f"{'curl' if command == ['bash'] else command[0]} is not on this machine")
    return subprocess.run(
        [*command, example],
        cwd=PROJECT_ROOT,
        env={**os.environ, "GOCACHE": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_document_is_current(generate: ModuleType) -> None:
    assert generate.DOCUMENT.read_text("utf-8") == generate.render(), (
        "run: .venv/bin/python docs/api/generate.py"
    )


def test_the_document_has_all_examples_and_its_links_lead_somewhere(generate: ModuleType) -> None:
    text = generate.DOCUMENT.read_text("utf-8")

    for example in EXAMPLES:
        assert (PROJECT_ROOT / example).read_text("utf-8").strip() in text
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    titles = re.findall(r"^#+ (.+)$", prose, re.M)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    for link in links:
        if not link.startswith(("#", "http")):
            assert (generate.DOCUMENT.parent / link).exists(), link


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_the_mask(
    example: str, counts: str, mini_service: Service, tmp_path: Path
) -> None:
    addresses = {
        "OVSEG_URL": mini_service.base_url,
        "OVSEG_GRPC_URL": mini_service.grpc_address,
    }
    result = run_example(example, addresses, tmp_path)

    assert result.returncode == 0, result.stderr
    # Some print the answer's JSON as it is.
    assert counts in result.stdout or json.dumps(counts)[1:-1] in result.stdout


@pytest.mark.parametrize("example", [name for name in EXAMPLES if "rest" in name])
def test_an_example_says_what_went_wrong(
    example: str, mini_service: Service, tmp_path: Path
) -> None:
    result = run_example(example, {"OVSEG_URL": f"{mini_service.base_url}/nowhere"}, tmp_path)

    assert result.returncode != 0
    assert "Not Found" in result.stdout + result.stderr
