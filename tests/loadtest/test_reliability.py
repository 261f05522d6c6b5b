"""docs/RELIABILITY.md names only tests and settings that exist, with their true defaults."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from loadtest.soak.bad_traffic import BadTraffic
from loadtest.soak.hostile_server import TRAPS
from loadtest.soak.report import BEGIN, END
from ovseg.settings import PROJECT_ROOT, Settings

DOCUMENT = (PROJECT_ROOT / "docs" / "RELIABILITY.md").read_text("utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", DOCUMENT)))
SETTINGS = sorted(set(re.findall(r"`OVSEG_(\w+)(=[^`]*)?`", DOCUMENT)))
MISSING = object()


def default_of(name: str) -> object:
    field = Settings.model_fields.get(name.lower())
    return MISSING if field is None else field.get_default(call_default_factory=True)


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_test_exists(file: str, name: str) -> None:
    assert (PROJECT_ROOT / file).is_file()
    assert not name or name in functions_of(PROJECT_ROOT / file)


@pytest.mark.parametrize(("name", "default"), SETTINGS)
def test_the_setting_exists_and_has_this_default(name: str, default: str) -> None:
    known = default_of(name)

    assert known is not MISSING
    # A name without "=default" depends on the machine, or its default is told elsewhere.
    assert default in ("", f"={known}")


def test_it_names_many_of_both() -> None:
    assert len(TESTS) > 30
    assert len([default for _, default in SETTINGS if default]) > 20


def test_every_table_row_says_what_shows_its_promise() -> None:
    rows = [line for line in DOCUMENT.partition("## The soak")[0].splitlines() if "|" in line]
    promises = [row for row in rows if not row.startswith(("| promise", "|---"))]
    unshown = [row for row in promises if "tests/" not in row and "the soak" not in row]

    assert len(promises) > 25
    assert unshown == []


def test_the_soak_has_as_many_mistakes_as_it_says() -> None:
    kinds = {trial.kind for trial in BadTraffic("http://127.0.0.2").trials}
    mistakes = [kind for kind in kinds if "URL" not in kind]
    (told,) = re.findall(r"bad ones: (\d+) mistakes", DOCUMENT)

    assert len(mistakes) >= int(told)
    assert len(TRAPS) >= 12


def test_the_report_has_a_place() -> None:
    assert BEGIN in DOCUMENT
    assert END in DOCUMENT.partition(BEGIN)[2]
