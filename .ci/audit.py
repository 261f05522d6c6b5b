#!/usr/bin/env python3
"""`make audit`: ask a vulnerability service about every package of requirements.lock.

pip-audit says "clean" as loudly as "nobody answered", so this tells three outcomes apart:

- exit code 0: every package was asked about, and nothing is known that is not excused;
- exit code 1: something is known; each is a line with the versions that have it fixed;
- exit code 3: the service could not be asked about all packages; one line says so. With
  `--allow-unreachable` that is exit code 0 (but the line stays): a machine without internet can
  still run the rest of CI.

Excused are the ids in audit-exceptions.txt, each with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
EXCEPTIONS = Path(__file__).with_name("audit-exceptions.txt")
PIP_AUDIT = [
    sys.executable,
    *("-m", "pip_audit", "--format=json", "--progress-spinner=off"),
    # The lock is complete: nothing is resolved, downloaded or built.
    *("--disable-pip", "--require-hashes", "--requirement"),
]


@dataclass(frozen=True)
class Outcome:
    """What an audit found out."""

    asked: int
    """Packages that the service knows."""
    not_asked: tuple[str, ...]
    """`name: why` of packages that it could not be asked about."""
    found: tuple[str, ...]
    """`name version: id (aliases), fixed in …` of vulnerabilities that are not excused."""
    unused: tuple[str, ...]
    """Excused ids that nothing has any more; only when every package was asked about."""

    def report(self, *, allow_unreachable: bool) -> tuple[int, list[str]]:
        """Exit code, and lines for a person."""
        lines = [f"VULNERABLE: {problem}" for problem in self.found]
        lines += [f"{EXCEPTIONS.name}: {id} is no longer needed" for id in self.unused]
        if self.not_asked:
            lines.append(
                f"NOT AUDITED: the vulnerability service could not be asked about "
                f"{len(self.not_asked)} of {len(self.not_asked) + self.asked} packages "
                f"({self.not_asked[0]})"
            )
        if self.found:
            return 1, lines
        if self.not_asked:
            return 0 if allow_unreachable else 3, lines
        return 0, [*lines, f"audit: {self.asked} packages, no known vulnerability"]


def read_exceptions(text: str) -> dict[str, str]:
    """Reason by vulnerability id, from lines `ID reason`; `#` starts a comment.

    Raises:
        ValueError: a line has no reason.
    """
    reasons = {}
    for number, line in enumerate(text.splitlines(), 1):
        id, _, reason = line.partition("#")[0].strip().partition(" ")
        if id and not reason.strip():
            raise ValueError(f"{EXCEPTIONS.name}, line {number}: {id} is excused without a reason")
        if id:
            reasons[id] = reason.strip()
    return reasons


def judge(answer: dict[str, Any], exceptions: dict[str, str]) -> Outcome:
    """What pip-audit's JSON says.

    Args:
        answer: `{"dependencies": [{"name", "version", "vulns": [{"id", "aliases", …}]} or
            {"name", "skip_reason"}]}`.
        exceptions: reasons by excused id or alias.
    """
    asked, not_asked, found, seen = 0, [], [], set()
    for package in answer["dependencies"]:
        if "skip_reason" in package:
            not_asked.append(f"{package['name']}: {package['skip_reason']}")
            continue
        asked += 1
        for problem in package["vulns"]:
            names = [problem["id"], *problem.get("aliases", [])]
            seen |= set(names)
            if not exceptions.keys() & set(names):
                fixed = ", ".join(problem.get("fix_versions", [])) or "no version"
                found.append(
                    f"{package['name']} {package['version']}: {' '.join(names)}, fixed in {fixed}"
                )
    unused = () if not_asked else tuple(sorted(exceptions.keys() - seen))
    return Outcome(asked, tuple(not_asked), tuple(found), unused)


def ask(requirements: Path, command: list[str]) -> dict[str, Any]:
    """Run pip-audit on a file of requirements.

    Returns:
        Its JSON; where it gave none (no network: it ends with a traceback), every package is
        skipped with its last word as the reason.
    """
    ended = subprocess.run(
        [*command, str(requirements)], capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(ended.stdout)
        return {"dependencies": answer["dependencies"]}
    except (ValueError, KeyError, TypeError):
        words = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        names = [block.split("==")[0] for block in pinned(requirements.read_text("utf-8"))]
        return {"dependencies": [{"name": n, "skip_reason": words[-1][:200]} for n in names]}


def pinned(lock: str) -> list[str]:
    """The entries `name==version --hash=…` of a lock file, each with its continuation lines."""
    joined = lock.replace("\\\n", " ")
    return [line for line in joined.splitlines() if "==" in line and not line.startswith("#")]


def audit(command: list[str], lock: Path, exceptions: dict[str, str]) -> Outcome:
    """Ask about all packages of a lock file, or about one only if nobody answers for that one."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "requirements.txt"
        entries = pinned(lock.read_text("utf-8"))
        first.write_text(entries[0] + "\n", "utf-8")
        answer = ask(first, command)
        if "skip_reason" in answer["dependencies"][0]:
            reason = answer["dependencies"][0]["skip_reason"]
            names = [entry.split("==")[0] for entry in entries]
            answer = {"dependencies": [{"name": n, "skip_reason": reason} for n in names]}
        else:
            answer = ask(lock, command)
    return judge(answer, exceptions)


def main(arguments: list[str]) -> int:
    """Audit, print, and return the exit code."""
    if set(arguments) - {"--allow-unreachable"}:
        print(__doc__)
        return 2
    try:
        exceptions = read_exceptions(EXCEPTIONS.read_text("utf-8"))
    except ValueError as error:
        print(f"error: {error}")
        return 2
    outcome = audit(PIP_AUDIT, LOCK, exceptions)
    code, lines = outcome.report(allow_unreachable="--allow-unreachable" in arguments)
    print("\n".join(lines), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
