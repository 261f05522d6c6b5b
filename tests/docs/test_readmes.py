"""Both READMEs: their links and tests exist, their figures are the benchmark's, and they agree."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from ovseg.server.service import Service
from ovseg.settings import PROJECT_ROOT

READMES = ("README.md", "README.zh-CN.md")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_COMPARISON = re.compile(r"^## [^\n]*PaddleX[^\n]*\n(.*?)^## ", re.M | re.S)


@cache
def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    return _BLOCK.sub("", text)


def links(name: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(read(name))) if ":" not in link]


def anchors(text: str) -> set[str]:
    """GitHub's names of the headings."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def comparison(name: str) -> list[list[str]]:
    """Rows of the table that compares with PaddleX: what, theirs, ours, shown by."""
    section = _COMPARISON.search(read(name))
    assert section is not None
    rows = [line for line in section[1].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def commands(name: str) -> list[str]:
    """Programs, and console lines without their comments."""
    found = []
    for language, block in _BLOCK.findall(read(name)):
        lines = block.replace("\\\n", "").splitlines()
        if language == "python":
            lines = [line.partition("  #")[0] for line in lines]
        else:
            lines = [line.partition("  #")[0].rstrip() for line in lines if line.startswith("$ ")]
        found += lines
    return found


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    assert len(links(name)) > 20
    for link in links(name):
        path, _, anchor = link.partition("#")
        target = PROJECT_ROOT / path if path else PROJECT_ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("name", READMES)
def test_every_comparison_is_shown_by_something_of_ours(name: str) -> None:
    rows = comparison(name)
    assert len(rows) >= 8
    for what, theirs, ours, shown_by in rows:
        assert theirs and ours, what
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown_by)
        documents = re.findall(r"\]\(([^)#]+)", shown_by)
        assert tests or documents, what
        for file, function in tests:
            tree = ast.parse((PROJECT_ROOT / file).read_text("utf-8"))
            assert function in {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
            }


@pytest.mark.parametrize("name", READMES)
def test_compared_figures_are_those_of_the_benchmark(name: str) -> None:
    figures = 0
    for what, theirs, ours, shown_by in comparison(name):
        if not (document := re.search(r"\]\((docs/benchmarks/[^)#]+)", shown_by)):
            continue
        # A row of the benchmark has both figures.
        lines = read(document[1]).splitlines()
        wanted = re.findall(r"[\d,]*\d(?:\.\d+)?×?", f"{theirs} {ours}")
        assert wanted, what
        for figure in wanted:
            exact = re.compile(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,])")
            assert any(exact.search(line) for line in lines), f"{what}: {figure}"
            figures += 1
    assert figures >= 8


def test_both_say_the_same_with_the_same_commands() -> None:
    english, chinese = (commands(name) for name in READMES)
    assert english == chinese
    assert [len(_BLOCK.findall(read(name))) for name in READMES] == [
        len(_BLOCK.findall(read(READMES[0])))
    ] * 2
    assert len(re.findall(r"^## ", read(READMES[0]), re.M)) == len(
        re.findall(r"^## ", read(READMES[1]), re.M)
    )
    targets = [
        {link for link in links(name) if not link.startswith(("#", "README"))} for name in READMES
    ]
    assert targets[0] == targets[1]
    assert "docs/images/architecture.svg" in targets[0]


def programs() -> list[tuple[str, str]]:
    """The README's Python programs, each with what it shows as their output."""
    blocks = _BLOCK.findall(read("README.md"))
    return [
        (program, blocks[i + 1][1] if blocks[i + 1][0] == "" else "")
        for i, (language, program) in enumerate(blocks)
        if language == "python"
    ]


@pytest.mark.parametrize("number", range(len(programs())))
def test_programs_print_what_is_shown(number: int, mini_service: Service, tmp_path: Path) -> None:
    program, shown = programs()[number]
    for written, ours in (
        ("http://localhost:8080", mini_service.base_url),
        ("localhost:8001", mini_service.grpc_address),
        ("./output", str(tmp_path)),
    ):
        program = program.replace(written, ours)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        env={**os.environ, "OVSEG_URL": mini_service.base_url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    number_in = re.compile(r"\d+(?:\.\d+)?")
    assert number_in.sub("0", ended.stdout) == number_in.sub("0", shown)
    # Other CPUs round otherwise; a mask then may have some pixels more.
    printed, expected = (
        [float(value) for value in number_in.findall(text)] for text in (ended.stdout, shown)
    )
    assert printed == pytest.approx(expected, rel=0.01)


def test_the_settings_are_current() -> None:
    spec = importlib.util.spec_from_file_location(
        "write_settings", PROJECT_ROOT / "docs" / "write_settings.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document: Path = module.DOCUMENT
    assert document.read_text("utf-8") == module.render(), "run: docs/write_settings.py"
