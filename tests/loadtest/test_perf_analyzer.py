"""Finding perf_analyzer, its libraries, and the data it is given."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.loadtest.scripts import load_script

perf = load_script("perf_analyzer")


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PERF_ANALYZER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x7fELF")
    file.chmod(0o755)
    return file


def test_the_binary_is_found_below_a_folder_and_pypis_empty_package_is_not(tmp_path: Path) -> None:
    (tmp_path / "site-packages" / "perf_analyzer").mkdir(parents=True)
    binary = executable(tmp_path / "wheel" / "bin" / "perf_analyzer")

    assert perf.find_binary([tmp_path / "missing", tmp_path]) == binary


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "folder" / "perf_analyzer")
    chosen = executable(tmp_path / "chosen")
    monkeypatch.setenv("PERF_ANALYZER", str(chosen))
    assert perf.find_binary([tmp_path / "folder"]) == chosen

    monkeypatch.setenv("PERF_ANALYZER", str(tmp_path / "no such file"))
    with pytest.raises(perf.PerfAnalyzerError, match="names no file"):
        perf.find_binary([tmp_path / "folder"])


def test_the_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = executable(tmp_path / "bin" / "perf_analyzer")
    monkeypatch.setenv("PATH", str(binary.parent))
    assert perf.find_binary([tmp_path / "missing"]) == binary


def test_nowhere_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(perf.PerfAnalyzerError, match="--install"):
        perf.find_binary([tmp_path])


def test_only_the_binary_is_taken_out_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tritonclient-2.51.0.data/scripts/perf_analyzer", b"\x7fELF")
        archive.writestr("tritonclient/grpc/__init__.py", "")
    binary = perf.unpack(wheel, tmp_path / "build")

    assert [file.name for file in (tmp_path / "build").iterdir()] == ["perf_analyzer"]
    assert binary.stat().st_mode & 0o111
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(perf.PerfAnalyzerError, match="holds no perf_analyzer"):
        perf.unpack(wheel, tmp_path / "build")


def test_libraries_are_linked_under_the_names_that_the_binary_asks_for(tmp_path: Path) -> None:
    perf.link_libraries(perf.pytriton_libraries(), tmp_path)

    for name in ("libb64.so.0d", "libcudart.so.12"):
        assert (tmp_path / name).read_bytes().startswith(b"\x7fELF")
    with pytest.raises(perf.PerfAnalyzerError, match=r"libb64.so.0d is not in"):
        perf.link_libraries(tmp_path / "empty", tmp_path)


def test_every_input_has_values_that_fill_its_shape() -> None:
    inputs = [
        {"name": "embedding"}, {"name": "original_size"}, {"name": "point_coords"},
        {"name": "point_labels"}, {"name": "mask_input", "optional": True},
    ]  # fmt: skip
    (entry,) = perf.input_data(inputs, (2, 3, 4), 64)["data"]

    assert entry.keys() == {"embedding", "original_size", "point_coords", "point_labels"}
    assert entry["embedding"]["shape"] == [1, 2, 3, 4]
    assert len(entry["embedding"]["content"]) == 24
    assert entry["point_labels"] == {"content": [2, 3], "shape": [1, 2]}
    with pytest.raises(perf.PerfAnalyzerError, match="does not know: other"):
        perf.input_data([{"name": "other"}], (2, 3, 4), 64)
