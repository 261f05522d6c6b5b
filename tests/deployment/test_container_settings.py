"""What a container gives a process besides environment variables: files, and less than all CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

import ovseg.settings.cpus
from ovseg.settings import Settings, available_cpus
from ovseg.tokens import token_hash_entry

ENTRY = token_hash_entry("camera", "a token")


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVSEG_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("OVSEG_TOKEN_HASHES", raising=False)
    return tmp_path


def test_a_secret_is_read_from_a_file(secrets: Path) -> None:
    (secrets / "ovseg_token_hashes").write_text(ENTRY + "\n")
    assert set(Settings().token_digests) == {"camera"}


def test_an_empty_file_is_no_token(secrets: Path) -> None:
    (secrets / "ovseg_token_hashes").touch()
    assert Settings().token_digests == {}


def test_a_secret_that_is_none_is_an_error_that_does_not_quote_it(secrets: Path) -> None:
    (secrets / "ovseg_token_hashes").write_text("somebody's token")
    with pytest.raises(ValueError, match="entry 1 is not name:sha256hex") as caught:
        Settings()
    assert "somebody's" not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_a_variable_comes_before_the_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "ovseg_token_hashes").write_text("not even a hash")
    monkeypatch.setenv("OVSEG_TOKEN_HASHES", ENTRY)
    assert set(Settings().token_digests) == {"camera"}


@pytest.mark.filterwarnings("error")
def test_without_such_a_folder_nothing_is_said(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_SECRETS_DIR", str(secrets / "none"))
    assert Settings().token_hashes == ""


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("max 100000", 64), ("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1)],
)
def test_a_containers_cpu_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cpus: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit + "\n")
    monkeypatch.setattr(ovseg.settings.cpus, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert available_cpus() == cpus


def test_without_a_limit_it_is_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovseg.settings.cpus, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})
    assert available_cpus() == 2
