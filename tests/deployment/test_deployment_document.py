"""Every command, file and setting that docs/DEPLOYMENT.md names exists."""

from __future__ import annotations

import re

import pytest
import typer.main
import yaml

from ovseg.cli.main import app
from ovseg.settings import Settings
from tests.deployment.compose import ROOT, load, variables_of

TEXT = (ROOT / "docs" / "DEPLOYMENT.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", TEXT) + re.findall(r"^    (.+?)(?:  +#.*)?$", TEXT, re.MULTILINE)
WORDS = [word for code in CODE for word in code.split()]


def after(pattern: str) -> set[str]:
    """What follows a pattern in the commands."""
    return {found for code in CODE for found in re.findall(rf"{pattern} ([\w-]+)", code)}


def test_ovseg_and_make_have_the_commands() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = after(r"\bovseg") - {"create", "rollout", "scale", "get", "serve"}
    named = {name for name in named if not name.startswith("-")}
    assert {"import", "load", "token", "models", "config"} <= named
    assert named <= set(commands) | {"exec"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert after(r"^make") and after(r"^make") <= set(targets)


def test_compose_has_the_services_and_the_commands() -> None:
    services = load()["services"]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    run = [c for c in CODE if c.startswith("docker compose") and " run " in c]
    executed = [c for c in CODE if c.startswith("docker compose exec ")]
    assert len(run) >= 4 and len(executed) >= 3
    for code in run:
        service, command = re.findall(r"(triton|gateway) ([\w-]+)", code)[0]
        assert service in services and command in commands
    for code in executed:
        assert code.split()[3] in services


def test_the_files_are_there() -> None:
    named = {w for w in WORDS if re.match(r"(deploy|tests|docs)/|requirements|docker-compose", w)}
    assert len(named) > 10
    for word in named:
        path = re.split(r"::", word)[0]
        assert (ROOT / path).exists(), word
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        if "://" not in target:
            assert (ROOT / "docs" / target).exists(), target


def test_the_settings_are_there() -> None:
    named = {name for word in WORDS for name in re.findall(r"\bOVSEG_[A-Z_]+\b", word)}
    assert len(named) > 8
    variables = variables_of() | variables_of(ROOT / "deploy" / "compose" / "public.yml")
    for name in named:
        assert name in variables or name.removeprefix("OVSEG_").lower() in Settings.model_fields


@pytest.mark.parametrize("name", sorted(variables_of()))
def test_every_variable_of_the_compose_file_is_explained_with_its_default(name: str) -> None:
    (row,) = re.findall(rf"^\|[^|\n]*`{name}`.*$", TEXT, re.MULTILINE)[:1]
    default = variables_of()[name]
    if default and not default.startswith("./"):
        assert f"`{default}`" in row


def test_what_is_said_of_the_manifests_is_so() -> None:
    lock = (ROOT / "requirements-runtime.lock").read_text("utf-8")
    assert f"the {len(re.findall('^[a-z].*==', lock, re.MULTILINE))} packages" in TEXT
    deployment = ROOT / "deploy/kubernetes/base/deployment.yaml"
    pod = yaml.safe_load(deployment.read_text("utf-8"))["spec"]
    (container,) = pod["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "4Gi" and "allow 4 GiB" in TEXT
    assert container["resources"]["limits"]["cpu"] == "2" and "two-core replicas" in TEXT
    surge = pod["strategy"]["rollingUpdate"]["maxSurge"]
    assert f"`maxSurge: {surge}`" in TEXT


def test_the_arithmetic_is_right() -> None:
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", TEXT)
    for terms, said in re.findall(r"((?:[\d.]+ [x/] )+[\d.]+) = ([\d.]+)", plain):
        value, operator = 1.0, "x"
        for term in terms.split():
            if term in ("x", "/"):
                operator = term
            else:
                value = value * float(term) if operator == "x" else value / float(term)
        assert value == pytest.approx(float(said), rel=0.02), (terms, said)


def test_measured_figures_are_those_of_the_documents() -> None:
    performance = (ROOT / "docs" / "PERFORMANCE.md").read_text("utf-8")
    row = r"^\| \*\*REST, all\*\* \| \*\*([\d.]+)\*\* \| \*\*([\d.]+)\*\*"
    ((new, known),) = re.findall(row, performance, re.MULTILINE)
    assert f"| {float(new) / 1e3:.4f} | {float(known) / 1e3:.4f} |" in TEXT
