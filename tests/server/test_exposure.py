"""A certificate that cannot work, and addresses that others reach, are told at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from ovseg.server.errors import ServerStartError
from ovseg.server.exposure import check_tls, exposure_warnings, uvicorn_options
from ovseg.settings import Settings
from ovseg.tokens import token_hash_entry
from tests.server.exposed import Certificate, make_certificate

HASHES = token_hash_entry("alice", "a token")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def encrypted(key_file: Path, target: Path) -> Path:
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    target.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a pass phrase"),
        )
    )
    return target


def test_a_certificate_that_cannot_work_is_refused_in_one_line(
    certificate: Certificate, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path / "other")
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("nothing")
    cases: list[tuple[Path | None, Path | None, str]] = [
        (certificate.cert_file, None, "set OVSEG_TLS_KEY"),
        (None, certificate.key_file, "set OVSEG_TLS_CERT"),
        (tmp_path / "x", certificate.key_file, f"OVSEG_TLS_CERT: {tmp_path / 'x'}: No such file"),
        (certificate.cert_file, tmp_path, "OVSEG_TLS_KEY: .*Is a directory"),
        (certificate.cert_file, other.key_file, "is not the key of the certificate"),
        (certificate.cert_file, no_pem, "are not a PEM certificate and its key"),
        (no_pem, certificate.key_file, "are not a PEM certificate and its key"),
        (
            certificate.cert_file,
            encrypted(certificate.key_file, tmp_path / "encrypted.pem"),
            "OVSEG_TLS_KEY: .* is encrypted",
        ),
    ]
    for cert_file, key_file, problem in cases:
        with pytest.raises(ServerStartError, match=problem) as refused:
            check_tls(Settings(tls_cert=cert_file, tls_key=key_file))
        assert "\n" not in str(refused.value)


def test_a_good_certificate_goes_to_uvicorn_and_without_one_it_is_http(
    certificate: Certificate,
) -> None:
    settings = Settings(tls_cert=certificate.cert_file, tls_key=certificate.key_file)
    options = uvicorn_options(settings)
    assert options["ssl_certfile"] == certificate.cert_file
    assert options["ssl_keyfile"] == certificate.key_file
    assert settings.gateway_url == "https://127.0.0.1:8080"
    assert uvicorn_options(Settings()) == {"server_header": False, "timeout_keep_alive": 75}
    assert Settings(host="::1").gateway_url == "http://[::1]:8080"


@pytest.mark.parametrize("part", ["all", "gateway"])
def test_serve_refuses_before_anything_slow_is_done(tmp_path: Path, part: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ovseg", "serve", part],
        # There is no such model: that would be the next thing to be told.
        env={
            **os.environ,
            "OVSEG_TLS_CERT": str(tmp_path / "x"),
            "OVSEG_TLS_KEY": str(tmp_path / "y"),
            "OVSEG_MODEL": "nothing",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr == f"error: OVSEG_TLS_CERT: {tmp_path / 'x'}: No such file or directory\n"


def test_an_empty_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_TLS_CERT", "")
    assert Settings().tls_cert is None


@pytest.mark.parametrize(
    ("part", "settings", "words"),
    [
        ("all", {}, []),
        ("all", {"host": "localhost"}, []),
        ("all", {"host": "::1"}, []),
        ("all", {"host": "127.8.8.8"}, []),
        ("all", {"host": "0.0.0.0"}, ["asks for no token"]),
        ("gateway", {"host": "::"}, ["asks for no token"]),
        ("gateway", {"host": "example.org"}, ["asks for no token"]),
        ("all", {"host": "0.0.0.0", "token_hashes": HASHES}, ["without TLS"]),
        ("all", {"host": "0.0.0.0", "token_hashes": HASHES, "tls_cert": "c", "tls_key": "k"}, []),
        ("triton", {"host": "0.0.0.0"}, []),
        ("triton", {"triton_host": "0.0.0.0"}, ["Triton listens on 0.0.0.0"]),
        ("gateway", {"triton_host": "0.0.0.0"}, []),
        (
            "all",
            {"host": "0.0.0.0", "triton_host": "0.0.0.0"},
            ["asks for no token", "Triton listens on 0.0.0.0"],
        ),
    ],
)
def test_what_is_open_to_whoever_reaches_it_is_a_warning(
    part: Any, settings: dict[str, Any], words: list[str]
) -> None:
    lines = exposure_warnings(Settings(**settings), part)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert line.startswith("warning: ")
        assert word in line


def test_the_gateways_address_does_not_move_triton() -> None:
    assert Settings(host="0.0.0.0").triton_grpc_address == "127.0.0.1:8001"
