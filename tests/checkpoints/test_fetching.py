"""`ovseg fetch`: download, check, install; first use; nothing half-done."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile_server import Answer, HostileServer

from ovseg.checkpoints import published
from ovseg.checkpoints.published import PublishedFile, PublishedModel
from ovseg.cli.main import app
from ovseg.manifest import ModelManifest

STANDINS = Path(__file__).resolve().parent.parent / "contract" / "data" / "standin_models"
RunFetch = Callable[..., tuple[int, str]]


def packed(model: str) -> bytes:
    """A stand-in model as PaddleX publishes its models."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(STANDINS / model, f"{model}_infer")
    return stream.getvalue()


@pytest.fixture
def server() -> Iterator[HostileServer]:
    server = HostileServer(packed("SAM-H_box"))
    yield server
    server.server_close()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[PublishedModel], None]:
    """Put a model into the table of published models, for this test."""

    def add(model: PublishedModel) -> None:
        monkeypatch.setitem(published.PUBLISHED_MODELS, model.name, model)

    return add


@pytest.fixture
def box_model(server: HostileServer, publish: Callable[[PublishedModel], None]) -> PublishedModel:
    """A published archive of unknown checksum."""
    file = PublishedFile(server.address_of("SAM-H_box_infer.tar"))
    size = len(server.content)
    model = PublishedModel("box", "a box", "Us", "Apache-2.0", 14, 1024, (file,), size)
    publish(model)
    return model


@pytest.fixture
def run_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFetch:
    """`ovseg fetch …`: exit code, what it printed."""
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["fetch", *arguments])
        return result.exit_code, result.output

    return run


def downloads(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / ".downloads").iterdir()}


def test_installs_and_records_where_it_came_from(
    run_fetch: RunFetch, box_model: PublishedModel, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=3000)]
    code, output = run_fetch("box")
    assert code == 0, output
    assert "installed box; serve it with: OVSEG_MODEL=box ovseg serve" in output
    manifest = ModelManifest.load(tmp_path / "box")
    assert manifest.source == "SAM-H_box_infer.tar"
    assert manifest.source_urls == (box_model.files[0].url,)
    assert manifest.source_checksum == "first use"
    assert manifest.source_files[0].sha256 == hashlib.sha256(server.content).hexdigest()
    assert downloads(tmp_path) == {"first-use.json"}


def test_fetches_once(
    run_fetch: RunFetch, box_model: PublishedModel, server: HostileServer, tmp_path: Path
) -> None:
    run_fetch("box")
    code, output = run_fetch("box")
    assert (code, output) == (0, "box is installed already; --force fetches it again\n")
    assert len(server.requests) == 1
    assert run_fetch("box", "--force", "--keep")[0] == 0
    assert len(server.requests) == 2
    assert downloads(tmp_path) == {"first-use.json", "SAM-H_box_infer.tar"}


def test_a_file_that_was_got_before_is_not_fetched_again(
    run_fetch: RunFetch, box_model: PublishedModel, server: HostileServer, tmp_path: Path
) -> None:
    run_fetch("box", "--keep")
    shutil.rmtree(tmp_path / "box")
    assert run_fetch("box", "--keep")[0] == 0
    assert len(server.requests) == 1
    (tmp_path / ".downloads" / "SAM-H_box_infer.tar").write_bytes(b"damaged")
    assert run_fetch("box", "--force")[0] == 0
    assert len(server.requests) == 2


def test_a_damaged_model_is_fetched_again(
    run_fetch: RunFetch, box_model: PublishedModel, server: HostileServer, tmp_path: Path
) -> None:
    run_fetch("box")
    (tmp_path / "box" / "box" / "inference.pdiparams").write_bytes(b"")
    assert run_fetch("box")[0] == 0
    assert len(server.requests) == 2


def test_what_was_trusted_must_stay_the_same(
    run_fetch: RunFetch, box_model: PublishedModel, server: HostileServer, tmp_path: Path
) -> None:
    run_fetch("box")
    before = (tmp_path / "box" / "model.json").read_bytes()
    server.content = packed("SAM-H_point")
    code, output = run_fetch("box", "--force")
    assert code == 1
    assert "differs from what it was on" in output
    assert (tmp_path / "box" / "model.json").read_bytes() == before
    assert downloads(tmp_path) == {"first-use.json"}

    assert run_fetch("box", "--force", "--accept-change")[0] == 0
    assert ModelManifest.load(tmp_path / "box").prompt_kinds == ("point",)
    assert run_fetch("box", "--force")[0] == 0


def test_a_known_checksum_must_be_met(
    run_fetch: RunFetch,
    box_model: PublishedModel,
    server: HostileServer,
    publish: Callable[[PublishedModel], None],
    tmp_path: Path,
) -> None:
    sha256 = hashlib.sha256(server.content).hexdigest()
    file = replace(box_model.files[0], size_bytes=len(server.content), sha256=sha256)
    publish(replace(box_model, files=(file,)))
    server.answers = [Answer(flips_a_bit=True)]
    code, output = run_fetch("box")
    assert code == 1
    assert output.splitlines()[-1].startswith("error: ")
    assert "is not the expected file" in output
    assert not (tmp_path / "box").exists()
    assert run_fetch("box")[0] == 0
    assert ModelManifest.load(tmp_path / "box").source_checksum == "known"
    assert downloads(tmp_path) == set()


def test_a_checkpoint_must_be_what_the_table_says(
    run_fetch: RunFetch,
    server: HostileServer,
    publish: Callable[[PublishedModel], None],
    tiny_checkpoint: Path,
    tmp_path: Path,
) -> None:
    server.content = tiny_checkpoint.read_bytes()
    file = PublishedFile(server.address_of("sam_vit_b.pth"))
    publish(
        PublishedModel("large", "", "Us", "", 0, 1024, (file,), len(server.content), "sam_vit_b")
    )
    code, output = run_fetch("large")
    assert code == 1
    assert "sam_vit_b.pth is a sam_tiny checkpoint, not sam_vit_b" in output
    assert not (tmp_path / "large").exists()


def test_unknown_names(run_fetch: RunFetch) -> None:
    code, output = run_fetch("sam_vit_x")
    assert code == 1
    assert output.startswith("error: sam_vit_x is not a model that can be fetched; choose from ")
    assert "mobile_sam" in output
