"""Starting the peer: its configuration, and what is said when it does not start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from ovseg.bench.peer_server import (
    AS_SHIPPED,
    REQUIREMENTS,
    TUNED,
    PeerError,
    PeerServer,
    PeerVariant,
    ensure_peer,
    pipeline_configuration,
)


def test_our_export_takes_the_place_of_the_peers_models(tmp_path: Path) -> None:
    parts = pipeline_configuration(tmp_path, AS_SHIPPED)["SubModules"]

    assert parts["BoxPromptSegmentation"]["model_dir"] == str(tmp_path / "SAM-H_box")
    assert parts["PointPromptSegmentation"]["model_dir"] == str(tmp_path / "SAM-H_point")
    assert "engine_config" not in parts["BoxPromptSegmentation"]


def test_the_tuned_peer_has_one_thread_a_core(tmp_path: Path) -> None:
    parts = pipeline_configuration(tmp_path, TUNED)["SubModules"]

    for part in parts.values():
        assert part["engine_config"]["run_mode"] == "mkldnn"
        assert part["engine_config"]["cpu_threads"] >= 1


def fake_python(tmp_path: Path, script: str) -> Path:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n{script}", "utf-8")
    python.chmod(0o755)
    return python


def test_a_peer_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "print('first'); print('no such plugin'); raise SystemExit(3)")
    peer = PeerServer(python, tmp_path / "exported", PeerVariant("P", "x"), tmp_path / "work")

    with pytest.raises(PeerError, match="P ended: no such plugin"):
        peer.start()
    written = yaml.safe_load((tmp_path / "work" / "P.yaml").read_text("utf-8"))
    assert written["pipeline_name"] == "open_vocabulary_segmentation"
    peer.stop()  # again, and harmless


def test_a_peer_that_answers_an_error_is_stopped_and_reported(tmp_path: Path) -> None:
    # `python -m paddlex --serve … --host H --port P`
    server = """
import http.server, sys
class Broken(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500); self.send_header("Content-Length", "4"); self.end_headers()
        self.wfile.write(b"oops")
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Broken).serve_forever()
"""
    python = fake_python(tmp_path, server)
    peer = PeerServer(python, tmp_path / "exported", PeerVariant("P", "x"), tmp_path / "work")

    with pytest.raises(PeerError, match="status 500: b'oops'"):
        peer.start()
    assert peer._process is not None
    assert peer._process.poll() is not None


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "paddlex").touch()
    said: list[str] = []

    assert ensure_peer(tmp_path, said.append) == tmp_path / "bin" / "python"
    assert not said


def test_the_peer_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if line[:1] != "#"]

    assert "paddlex==3.7.2" in lines
    assert "pycocotools==2.0.8" in lines  # the newest that PaddleX accepts
    assert all("==" in line for line in lines if line)
