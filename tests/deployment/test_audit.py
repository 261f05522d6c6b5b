"""`make audit` tells "clean", "vulnerable" and "nobody answered" apart."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = "# a comment\nalpha==1.0 \\\n    --hash=sha256:00\nbeta==2.0 \\\n    --hash=sha256:00\n"
PROBLEM = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1", "GHSA-1"],
    "fix_versions": ["1.1"],
    "description": "…",
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.lock"
    file.write_text(LOCK)
    return file


def alpha(*problems: dict[str, Any]) -> dict[str, Any]:
    return {"name": "alpha", "version": "1.0", "vulns": list(problems)}


BETA = {"name": "beta", "version": "2.0", "vulns": []}
UNKNOWN_BETA = {"name": "beta", "skip_reason": "Dependency not found on PyPI"}


def saying(tmp_path: Path, script: str) -> list[str]:
    """A command in pip-audit's place; `requirements` is the text of the file it is given."""
    file = tmp_path / "fake_pip_audit.py"
    file.write_text(
        "import json, pathlib, sys\n"
        "requirements = pathlib.Path(sys.argv[1]).read_text()\n"
        f"with open({str(tmp_path / 'asked')!r}, 'a') as log: print(requirements, file=log)\n"
        + script
    )
    return [sys.executable, str(file)]


def answering(tmp_path: Path, packages: list[dict[str, Any]], code: int = 0) -> list[str]:
    text = json.dumps({"dependencies": packages, "fixes": []})
    return saying(tmp_path, f"print({text!r})\nsys.exit({code})\n")


def test_clean_is_said_with_the_number_of_packages(
    audit: ModuleType, lock: Path, tmp_path: Path
) -> None:
    outcome = audit.audit(answering(tmp_path, [alpha(), BETA]), lock, {})
    assert outcome.report(allow_unreachable=False) == (
        0,
        ["audit: 2 packages, no known vulnerability"],
    )


@pytest.mark.parametrize("allow_unreachable", [False, True])
@pytest.mark.parametrize("beta", [BETA, UNKNOWN_BETA], ids=["all asked", "one not asked"])
def test_a_known_vulnerability_fails_always(
    audit: ModuleType, lock: Path, tmp_path: Path, beta: dict[str, Any], allow_unreachable: bool
) -> None:
    outcome = audit.audit(answering(tmp_path, [alpha(PROBLEM), beta], code=1), lock, {})
    code, lines = outcome.report(allow_unreachable=allow_unreachable)
    assert code == 1
    assert lines[0] == "VULNERABLE: alpha 1.0: PYSEC-1 CVE-1 GHSA-1, fixed in 1.1"


@pytest.mark.parametrize("excused", ["PYSEC-1", "GHSA-1"])
def test_an_excused_one_passes_by_its_id_or_an_alias(
    audit: ModuleType, lock: Path, tmp_path: Path, excused: str
) -> None:
    outcome = audit.audit(answering(tmp_path, [alpha(PROBLEM), BETA]), lock, {excused: "why"})
    assert outcome.report(allow_unreachable=False)[0] == 0


def test_an_excuse_that_nothing_needs_any_more_is_told(
    audit: ModuleType, lock: Path, tmp_path: Path
) -> None:
    outcome = audit.audit(answering(tmp_path, [alpha(), BETA]), lock, {"CVE-9": "why"})
    code, lines = outcome.report(allow_unreachable=False)
    assert code == 0
    assert "CVE-9 is no longer needed" in lines[0]


@pytest.mark.parametrize(("allow_unreachable", "code"), [(False, 3), (True, 0)])
def test_a_service_that_knows_nothing_is_not_a_clean_audit(
    audit: ModuleType, lock: Path, tmp_path: Path, allow_unreachable: bool, code: int
) -> None:
    unknown_alpha = {"name": "alpha", "skip_reason": "Dependency not found on PyPI"}
    outcome = audit.audit(answering(tmp_path, [unknown_alpha, UNKNOWN_BETA]), lock, {})
    assert outcome.report(allow_unreachable=allow_unreachable) == (
        code,
        [
            "NOT AUDITED: the vulnerability service could not be asked about 2 of 2 packages "
            "(alpha: Dependency not found on PyPI)"
        ],
    )
    # One package was enough to find out.
    assert "beta" not in (tmp_path / "asked").read_text()


def test_one_package_that_could_not_be_asked_about_is_not_a_clean_audit(
    audit: ModuleType, lock: Path, tmp_path: Path
) -> None:
    outcome = audit.audit(answering(tmp_path, [alpha(), UNKNOWN_BETA]), lock, {})
    code, (line,) = outcome.report(allow_unreachable=False)
    assert code == 3
    assert "1 of 2 packages (beta: " in line


def test_an_auditor_that_crashes_is_not_a_clean_audit(
    audit: ModuleType, lock: Path, tmp_path: Path
) -> None:
    crash = saying(tmp_path, "sys.exit('ConnectionError: no route to host')\n")
    code, (line,) = audit.audit(crash, lock, {}).report(allow_unreachable=False)
    assert code == 3
    assert "ConnectionError: no route to host" in line


def test_an_excuse_needs_a_reason(audit: ModuleType) -> None:
    assert audit.read_exceptions("# nothing\n\nCVE-1 we never call it  # really\n") == {
        "CVE-1": "we never call it"
    }
    with pytest.raises(ValueError, match="line 2: CVE-2 is excused without a reason"):
        audit.read_exceptions("CVE-1 why\nCVE-2\n")
    audit.read_exceptions(audit.EXCEPTIONS.read_text("utf-8"))


def test_every_package_of_the_lock_file_is_seen(audit: ModuleType) -> None:
    entries = audit.pinned(audit.LOCK.read_text("utf-8"))
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_pip_audit_still_speaks_as_expected(audit: ModuleType, tmp_path: Path) -> None:
    nothing = tmp_path / "requirements.txt"
    nothing.touch()
    answer = audit.ask(nothing, audit.PIP_AUDIT)  # With nothing to ask about it asks nobody.
    assert answer == {"dependencies": []}


def test_ci_audits_and_goes_on_without_internet() -> None:
    assert "make audit AUDIT=--allow-unreachable" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert ".ci/audit.py $(AUDIT)" in (ROOT / "Makefile").read_text("utf-8")
