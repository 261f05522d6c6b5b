"""What `ovseg serve` prints: plain lines, a terminal's, and JSON for scripts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import convert
from msgspec.structs import replace

from ovseg.cli.serve_screen import JsonLines, PlainLines
from ovseg.cli.serve_status import Status, addresses_of, curl_example, engines_meanwhile
from ovseg.manifest import EngineCheck, ModelManifest
from ovseg.server.supervisor import READY_PREFIX
from ovseg.settings import Settings

MANIFEST = ModelManifest(
    name="small",
    variant="sam_mini",
    kind="split",
    input_size=512,
    embedding_shape=(32, 32, 256),
    parameters=9_500_000,
    source="small.safetensors",
    source_sha256="",
)
ENGINES = {"encoder": "openvino bf16", "decoder": "openvino fp32"}
ON_A_TERMINAL = """
from ovseg.cli.failing import show_error
from ovseg.cli.serve_screen import choose_screen
from tests.server.test_serve_output import status
screen = choose_screen(as_json=False)
screen.say("starting Triton …")
screen.say("a warning")
screen.announce(status(), "")
screen.end("it broke")
"""


IMPORTING = """
from ovseg.cli.progress import shown_steps
with shown_steps() as step:
    step("reading [281] tensors")
    step("writing the encoder program")
"""


def settings(**changed: object) -> Settings:
    return Settings(port=9080, grpc_port=9001, metrics_port=9002, threads=2, **changed)  # type: ignore[arg-type]


def status() -> Status:
    everywhere = addresses_of(settings(), "all")
    return Status(3.21, everywhere, MANIFEST, ("SAM-H",), ENGINES, 2)


def test_plain_lines_start_with_what_scripts_wait_for(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().announce(status(), curl_example(settings()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{READY_PREFIX}3.2 s"
    assert lines[1:7] == [
        "  model    small, 9.5 M parameters, 512 px; also SAM-H",
        "  engines  encoder openvino bf16, decoder openvino fp32, 2 threads",
        "  page     http://127.0.0.1:9080/   docs http://127.0.0.1:9080/docs",
        "  REST     http://127.0.0.1:9080/open-vocabulary-segmentation",
        "  gRPC     127.0.0.1:9001   model open_vocabulary_segmentation",
        "  metrics  http://127.0.0.1:9080/metrics   http://127.0.0.1:9002/metrics",
    ]
    assert "curl" in lines[-1]


def test_each_part_tells_only_of_itself() -> None:
    gateway = Status(1.0, addresses_of(settings(), "gateway"))
    assert [name for name, _ in gateway.rows()] == ["page", "REST", "metrics"]
    triton = Status(1.0, addresses_of(settings(), "triton"), MANIFEST, (), ENGINES, 2)
    assert [name for name, _ in triton.rows()] == ["model", "engines", "gRPC", "metrics"]


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonLines()
    screen.say("starting Triton …")
    screen.announce(status(), "curl …")
    screen.end()
    screen.end("it broke")
    message, ready, stopped, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert message == {"event": "message", "message": "starting Triton …"}
    assert ready["event"] == "ready"
    assert ready["seconds"] == 3.21
    assert (ready["model"], ready["further_models"]) == ("small", ["SAM-H"])
    assert ready["encoder"] == {"engine": "openvino", "precision": "bf16"}
    assert ready["addresses"]["rest"] == "http://127.0.0.1:9080/open-vocabulary-segmentation"
    assert stopped == {"event": "stopped"}
    assert error == {"event": "error", "message": "it broke"}


def test_the_engines_come_from_the_models_self_check() -> None:
    def check(part: str, seconds: float, engine: str, accepted: bool = True) -> EngineCheck:
        facts = {"part": part, "engine": engine, "precision": "fp32", "accepted": accepted}
        return convert(facts | {"seconds": seconds}, EngineCheck)

    checks = (
        check("encoder", 1.0, "paddle"),
        check("encoder", 0.5, "onnxruntime"),
        check("encoder", 0.1, "openvino", accepted=False),
        check("decoder", 1.0, "paddle"),
    )
    found = engines_meanwhile(replace(MANIFEST, checks=checks), settings())()
    assert found == {"encoder": "onnxruntime fp32", "decoder": "paddle fp32"}


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_has_colours_unless_told_otherwise(no_color: bool) -> None:
    shown = shown_on_a_terminal(ON_A_TERMINAL, {"NO_COLOR": "1"} if no_color else {})
    assert f"{READY_PREFIX}3.2 s" in shown
    assert "a warning" in shown
    assert "starting Triton" in shown
    assert "error: it broke" in shown
    assert ("\x1b[1;32m" in shown) is not no_color  # Bold green: ready.
    assert ("\x1b[31m" in shown) is not no_color  # Red: the error.


def test_steps_of_an_import_are_ticked_off_on_a_terminal() -> None:
    shown = shown_on_a_terminal(IMPORTING, {"NO_COLOR": "1"})
    for step in ("reading [281] tensors", "writing the encoder program"):
        assert f"✓ {step}" in shown


def shown_on_a_terminal(program: str, environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    inherited = {name: os.environ[name] for name in os.environ if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**inherited, "TERM": "xterm", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 65536):
                shown += block
        except OSError:
            pass  # How a terminal says that nobody has it open any more.
    os.close(ours)
    return shown.decode()


def test_a_missing_model_tells_a_script_what_to_do(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ovseg", "serve", "--json"],
        env={**os.environ, "OVSEG_MODEL": "sam_vit_b", "OVSEG_MODEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    event = json.loads(ended.stdout)
    assert event["event"] == "error"
    assert "ovseg import" in event["message"]


def test_a_broken_manifest_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.json").write_text("{}")
    ended = subprocess.run(
        [sys.executable, "-m", "ovseg", "serve"],
        env={**os.environ, "OVSEG_MODEL": "broken", "OVSEG_MODEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    assert "ovseg import" in ended.stderr
