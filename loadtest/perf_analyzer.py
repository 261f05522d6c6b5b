"""Triton's own load generator, perf_analyzer, on the stages that matter, over gRPC.

    python loadtest/perf_analyzer.py --install           # once: fetches the wheel that holds it
    python loadtest/perf_analyzer.py --grpc 127.0.0.1:8001 --concurrency 1:4

The package `perf-analyzer` on PyPI is empty; the wheel `tritonclient` 2.51.0 holds a binary. It
wants two libraries that nvidia-pytriton carries under other names, so it is given a folder of
links. It cannot drive a nested ensemble, so it drives what is inside: `sam_encoder` on random
pixels, and `prompt_decoder` on random embeddings with one box. See README.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg.manifest import ModelManifest
from ovseg.served_models import ENSEMBLE, ServedModel
from ovseg.settings import PROJECT_ROOT, get_settings

WHEEL = "tritonclient==2.51.0"
INSTALLED = PROJECT_ROOT / "build" / "perf_analyzer"
BINARY = "perf_analyzer"
# What the binary asks the loader for, and how the file's name begins in nvidia_pytriton.libs.
LIBRARIES = {"libb64.so.0d": "libb64", "libcudart.so.12": "libcudart"}
STAGES = ("sam_encoder", "prompt_decoder")
_SEED = 1


class PerfAnalyzerError(Exception):
    """It cannot run; one line says why and what to do."""


def find_binary(folders: Iterable[Path]) -> Path:
    """The binary: the setting PERF_ANALYZER, the folders, PATH, in this order.

    Raises:
        PerfAnalyzerError: it is nowhere.
    """
    if chosen := os.environ.get("PERF_ANALYZER"):
        if not Path(chosen).is_file():
            raise PerfAnalyzerError(f"PERF_ANALYZER names no file: {chosen}")
        return Path(chosen)
    for folder in folders:
        for file in sorted(folder.rglob(BINARY)):
            # PyPI's empty package has a folder of that name.
            if file.is_file():
                return file
    if found := shutil.which(BINARY):
        return Path(found)
    raise PerfAnalyzerError(
        "perf_analyzer is not there: `python loadtest/perf_analyzer.py --install` fetches "
        f"{WHEEL}, which holds it"
    )


def install(folder: Path) -> Path:
    """Fetch the wheel that holds the binary, and unpack only that.

    Raises:
        PerfAnalyzerError: the wheel cannot be had, or holds no binary.
    """
    with tempfile.TemporaryDirectory() as name:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"),
            *("--only-binary", ":all:", "--dest", name, WHEEL),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PerfAnalyzerError(f"{WHEEL} cannot be had: {done.stderr.strip()[-300:]}")
        (wheel,) = Path(name).glob("*.whl")
        return unpack(wheel, folder)


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the binary out of a wheel.

    Raises:
        PerfAnalyzerError: it holds none.
    """
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.namelist() if Path(member).name == BINARY]
        if not members:
            raise PerfAnalyzerError(f"{wheel.name} holds no {BINARY}")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / BINARY
        target.write_bytes(archive.read(members[0]))
    target.chmod(0o755)
    return target


def link_libraries(sources: Path, folder: Path) -> None:
    """Links to the libraries under the names that the binary asks for.

    Raises:
        PerfAnalyzerError: one of them is not among `sources`.
    """
    for wanted, prefix in LIBRARIES.items():
        found = sorted(sources.glob(f"{prefix}*.so*"))
        if not found:
            raise PerfAnalyzerError(f"{wanted} is not in {sources}")
        (folder / wanted).symlink_to(found[0])


def pytriton_libraries() -> Path:
    """Folder of the libraries that nvidia-pytriton carries.

    Raises:
        PerfAnalyzerError: it is not installed.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise PerfAnalyzerError("nvidia-pytriton is not installed")
    return Path(spec.origin).parent.parent / "nvidia_pytriton.libs"


def input_data(
    inputs: Sequence[Mapping[str, Any]], embedding_shape: Sequence[int], side: int
) -> dict[str, Any]:
    """Values for a stage's inputs, in perf_analyzer's JSON, with the shapes that they have.

    Args:
        inputs: as Triton's configuration of the stage lists them; optional ones are left out.
        embedding_shape: of one image, without a batch dimension.
        side: of the model's input, pixels.

    Raises:
        PerfAnalyzerError: the stage has an input that is not known here.
    """
    numbers = np.random.default_rng(_SEED)
    values: dict[str, NDArray[Any]] = {
        "pixels": numbers.integers(0, 256, (1, side, side, 3)),
        "input_size": np.array([[side * 3 // 4, side]]),
        "embedding": numbers.normal(size=(1, *embedding_shape)).astype(np.float32),
        "original_size": np.array([750, 1000]),
        "point_coords": np.array([[[100.0, 100.0], [400.0, 300.0]]]),
        "point_labels": np.array([[2, 3]]),
    }
    entry = {}
    for tensor in inputs:
        if tensor.get("optional"):
            continue
        if tensor["name"] not in values:
            raise PerfAnalyzerError(f"an input that this script does not know: {tensor['name']}")
        array = values[tensor["name"]]
        entry[tensor["name"]] = {"content": array.ravel().tolist(), "shape": list(array.shape)}
    return {"data": [entry]}


def main() -> int:
    """Run it on each stage; exit code 1 with one line if that is impossible."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="fetch the binary and stop")
    parser.add_argument("--grpc", default=get_settings().triton_grpc_address, help="host:port")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--concurrency", default="1:4", help="start:end[:step] (default 1:4)")
    parser.add_argument("--requests", type=int, default=20, help="for each measurement")
    parser.add_argument("--output", type=Path, default=PROJECT_ROOT / "loadtest" / "results")
    arguments = parser.parse_args()
    try:
        if arguments.install:
            print(install(INSTALLED))
            return 0
        binary = find_binary([INSTALLED])
        return max(_analyze(binary, stage, arguments) for stage in arguments.stages)
    except PerfAnalyzerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _analyze(binary: Path, stage: str, arguments: argparse.Namespace) -> int:
    inputs, manifest = _served_model(arguments.grpc, stage)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_libraries(pytriton_libraries(), folder)
        data = folder / "input.json"
        data.write_text(
            json.dumps(input_data(inputs, manifest.embedding_shape, manifest.input_size)), "utf-8"
        )
        command = [
            *(str(binary), "-m", stage, "-i", "grpc", "-u", arguments.grpc),
            *("--input-data", str(data), "--concurrency-range", arguments.concurrency),
            *("--measurement-mode", "count_windows"),
            *("--measurement-request-count", str(arguments.requests)),
            *("--stability-percentage", "50", "-f", str(arguments.output / f"{stage}.csv")),
        ]
        libraries = f"{folder}:{pytriton_libraries()}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        print(f"{stage}:", flush=True)
        return subprocess.run(command, env={**os.environ, "LD_LIBRARY_PATH": libraries}).returncode


def _served_model(address: str, stage: str) -> tuple[list[dict[str, Any]], ModelManifest]:
    """The stage's inputs, and the installed model that it serves."""
    import tritonclient.grpc as triton

    try:
        with triton.InferenceServerClient(address) as client:
            config = client.get_model_config(stage, as_json=True)["config"]
            ensemble = client.get_model_config(ENSEMBLE).config
    except triton.InferenceServerException as error:
        raise PerfAnalyzerError(f"no server answers at {address}: {error.message()}") from None
    settings = get_settings()
    name = ServedModel.from_config(ensemble).name or settings.model
    return config["input"], ModelManifest.load(settings.model_dir / name)


if __name__ == "__main__":
    sys.exit(main())
