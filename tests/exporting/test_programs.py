"""Export of single programs: other engines compute what Paddle computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ovseg.cli.main import app
from ovseg.engines.openvino import openvino_core
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.exporting.export_model import export_model
from ovseg.manifest import IMAGE_TERMS, ModelManifest
from ovseg.settings import get_settings
from tests.small_model import SMALL

RNG = np.random.default_rng(2)
SIDE, MASK = SMALL.input_size, SMALL.mask_size
INPUTS: dict[str, dict[str, Any]] = {
    "encoder": {
        "pixels": RNG.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8),
        "input_size": np.array([[SIDE, 200], [131, SIDE]], np.int32),
    },
    "prompt_decoder": {
        "embedding": RNG.standard_normal((1, *SMALL.embedding_shape), np.float32),
        "point_coords": RNG.uniform(0, SIDE, (3, 3, 2)).astype(np.float32),
        "point_labels": np.array([[1, 2, 3], [1, 0, -1], [0, 1, -1]], np.int32),
        "mask_index": np.array([2, 0], np.int32),
    },
    "image_terms": {"embedding": RNG.standard_normal((1, *SMALL.embedding_shape), np.float32)},
    "mask_encoder": {
        "embedding": RNG.standard_normal((1, *SMALL.embedding_shape), np.float32),
        "mask_input": RNG.standard_normal((3, MASK, MASK), np.float32),
    },
}
OUTPUTS = {
    "encoder": ["embedding"],
    "prompt_decoder": ["low_res_masks", "iou_predictions"],
    "image_terms": list(IMAGE_TERMS),
    "mask_encoder": ["embedding_of_prompts"],
}


@pytest.fixture(scope="module")
def exported(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as ONNX and OpenVINO programs."""
    folder = tmp_path_factory.mktemp("programs")
    export_model(small_model, "onnx", folder / "onnx")
    export_model(small_model, "openvino", folder / "openvino")
    return folder


@pytest.mark.parametrize("program", INPUTS)
def test_onnx_runtime_computes_what_paddle_does(
    exported: Path, small_model: Path, program: str
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported / "onnx" / f"{program}.onnx"))
    expected = PaddleEngine(small_model / program, threads=1).run(**INPUTS[program])
    for result, wanted in zip(
        session.run(OUTPUTS[program], INPUTS[program]), expected, strict=True
    ):
        np.testing.assert_allclose(result, wanted, atol=1e-4)


@pytest.mark.parametrize("program", INPUTS)
def test_openvino_computes_what_paddle_does(
    exported: Path, small_model: Path, program: str
) -> None:
    compiled = openvino_core().compile_model(
        str(exported / "openvino" / f"{program}.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = compiled(INPUTS[program])
    expected = PaddleEngine(small_model / program, threads=1).run(**INPUTS[program])
    for name, wanted in zip(OUTPUTS[program], expected, strict=True):
        np.testing.assert_allclose(results[name], wanted, atol=1e-4)


def test_paddle_programs_are_the_installed_ones(small_model: Path, tmp_path: Path) -> None:
    export_model(small_model, "paddle", tmp_path / "out")
    for program in ModelManifest.load(small_model).program_names:
        for file in (small_model / program).iterdir():
            exported_file = tmp_path / "out" / program / file.name
            assert exported_file.read_bytes() == file.read_bytes()


def test_the_readme_names_every_tensor(exported: Path, small_model: Path) -> None:
    import onnx

    readme = (exported / "onnx" / "README.md").read_text("utf-8")
    for program in ModelManifest.load(small_model).program_names:
        graph = onnx.load(exported / "onnx" / f"{program}.onnx").graph
        for tensor in (*graph.input, *graph.output):
            assert f"`{tensor.name}`" in readme


def test_the_command_writes_a_folder(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(small_model.parent))
    get_settings.cache_clear()
    output = tmp_path / "out"
    arguments = ["export", "small", "--format", "paddle", "--output", str(output)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (output / "encoder" / "inference.json").is_file()
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing", "--format", "onnx"], "no model is installed"),
        (["small", "--format", "onnx", "--prompt", "box"], "--prompt goes with"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("OVSEG_MODEL_DIR", str(small_model.parent))
    get_settings.cache_clear()
    result = CliRunner().invoke(app, ["export", *arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
    get_settings.cache_clear()
