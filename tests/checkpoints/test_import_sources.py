"""`ovseg import`: folders and archives, names, and nothing left behind."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovseg.checkpoints.errors import (
    CheckpointError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from ovseg.checkpoints.import_sources import import_sources
from ovseg.cli.main import app
from ovseg.manifest import ModelManifest

STANDINS = Path(__file__).resolve().parent.parent / "contract" / "data" / "standin_models"


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """A tar archive of a stand-in model, as PaddleX publishes its models."""

    def make(model: str, mode: str = "w", suffix: str = "_infer.tar") -> Path:
        path = tmp_path / f"{model}{suffix}"
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            archive.add(STANDINS / model, f"{model}_infer")
        return path

    return make


@pytest.fixture
def run_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """`ovseg import …` into a folder of its own: exit code, what it printed."""
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(tmp_path / "models"))

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["import", *map(str, arguments)])
        return result.exit_code, result.output

    return run


def is_empty(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_paddlex_folders_name_themselves(tmp_path: Path) -> None:
    sources = [STANDINS / "SAM-H_box", STANDINS / "SAM-H_point"]
    assert import_sources(sources, tmp_path).name == "SAM-H"
    assert import_sources(sources[:1], tmp_path).name == "SAM-H_box"
    assert import_sources(sources[1:], tmp_path, model="mine").name == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"SAM-H", "SAM-H_box", "mine"}


@pytest.mark.parametrize(("mode", "suffix"), [("w", "_infer.tar"), ("w:gz", ".anything")])
def test_paddlex_archives(
    pack: Callable[..., Path], tmp_path: Path, mode: str, suffix: str
) -> None:
    models = tmp_path / "models"
    sources = [pack(model, mode, suffix) for model in ("SAM-H_box", "SAM-H_point")]
    manifest = import_sources(sources, models)
    assert manifest.prompt_kinds == ("box", "point")
    assert [path.name for path in models.iterdir()] == ["SAM-H"]
    for kind in ("box", "point"):
        original = STANDINS / f"SAM-H_{kind}" / "inference.pdiparams"
        installed = models / "SAM-H" / kind / "inference.pdiparams"
        assert installed.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("kept_bytes", [0, 14, 27])
def test_truncated_paddlex_weights_are_refused_and_nothing_is_left(
    tmp_path: Path, kept_bytes: int
) -> None:
    source = shutil.copytree(STANDINS / "SAM-H_box", tmp_path / "SAM-H_box")
    weights = source / "inference.pdiparams"
    whole = weights.read_bytes()
    weights.unlink()  # the original may be read-only
    weights.write_bytes(whole[:kept_bytes])
    with pytest.raises(UnreadableCheckpointError, match=f"is truncated: {kept_bytes} bytes of 28"):
        import_sources([source], tmp_path / "models")
    assert not list((tmp_path / "models").glob("*"))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_archive(pack: Callable[..., Path], tmp_path: Path, share: float) -> None:
    path = pack("SAM-H_box")
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableCheckpointError, match=r"SAM-H_box_infer\.tar") as error:
        import_sources([path], tmp_path / "models")
    assert "\n" not in str(error.value)
    assert is_empty(tmp_path / "models")


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    "hostile",
    [
        member("../outside"),
        member("model/../../outside"),
        member("/tmp/outside"),
        member("..\\outside"),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("hard", tarfile.LNKTYPE, "model/inference.json"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: info.name,
)
def test_hostile_archives_are_refused(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("model/inference.json"), io.BytesIO())
        archive.addfile(hostile, io.BytesIO())
    with pytest.raises(UnsafeCheckpointError, match=r"evil\.tar has a member"):
        import_sources([path], tmp_path / "deep" / "models")
    assert is_empty(tmp_path / "deep" / "models")
    assert {entry.name for entry in tmp_path.iterdir()} == {"evil.tar", "deep"}


def test_an_archive_larger_than_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar"
    huge = member("model/inference.json")
    huge.size = 1 << 60
    path.write_bytes(huge.tobuf() + bytes(1024))
    with pytest.raises(UnreadableCheckpointError, match="more than the disk can hold"):
        import_sources([path], tmp_path / "models")
    assert is_empty(tmp_path / "models")


def test_sources_that_do_not_belong_together(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="several sources must all be PaddleX"):
        import_sources([tiny_checkpoint, STANDINS / "SAM-H_box"], tmp_path / "models")
    with pytest.raises(UnreadableCheckpointError, match=r"absent\.pth does not exist"):
        import_sources([tmp_path / "absent.pth"], tmp_path / "models")
    assert is_empty(tmp_path / "models")


def test_command_needs_no_model_name(
    golden_folder: Path, tmp_path: Path, run_import: Callable[..., tuple[int, str]]
) -> None:
    code, output = run_import(golden_folder / "sam_tiny_hugging_face")
    assert code == 0, output
    assert "sam_tiny in the layout of Hugging Face's SamModel" in output
    manifest = ModelManifest.load(tmp_path / "models" / "sam_tiny")
    assert manifest.source == "sam_tiny_hugging_face"
    assert manifest.source_dtypes == ("float32",)
    (file,) = manifest.source_files
    assert (file.path, file.sha256) == ("model.safetensors", manifest.source_sha256)


def test_model_must_agree_or_is_a_name(
    tiny_checkpoint: Path, tmp_path: Path, run_import: Callable[..., tuple[int, str]]
) -> None:
    code, output = run_import(tiny_checkpoint, "--model", "sam_vit_b")
    assert (code, output) == (1, "error: sam_tiny.pth is a sam_tiny checkpoint, not sam_vit_b\n")
    assert is_empty(tmp_path / "models")
    assert import_sources([tiny_checkpoint], tmp_path, model="my-own").variant == "sam_tiny"


def test_command_fails_with_one_line(
    tmp_path: Path, run_import: Callable[..., tuple[int, str]]
) -> None:
    page = tmp_path / "sam_vit_b.pth"
    page.write_text("<html>Not found</html>")
    code, output = run_import(page)
    assert code == 1
    assert output.count("\n") == 1
    assert output.startswith("error: sam_vit_b.pth is not a torch checkpoint")
