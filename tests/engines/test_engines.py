"""Every engine: the same results, the same errors, one copy of the weights on the disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg.engines import Array, EngineError
from ovseg.engines.artefacts import ONNX_FILE_NAME, PARAMETERS_FILE_NAME
from ovseg.engines.onnx_runtime import OnnxRuntimeEngine
from ovseg.engines.openvino import ROWS, OpenVinoEngine, openvino_core
from ovseg.engines.openvino_graph import compress_weights, fix_rows
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.exporting.onnx_graph import write_onnx_graphs
from ovseg.stages.many_prompts import ManyPromptsDecoder, load_many_prompts_decoder
from ovseg.stages.prompts import Prompts
from tests.small_model import SMALL

RNG = np.random.default_rng(7)
SIDE, MASK = SMALL.input_size, SMALL.mask_size
ENCODER_INPUTS: dict[str, Array] = {
    "pixels": RNG.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8),
    "input_size": np.array([[SIDE, 200], [131, SIDE]], np.int32),
}


def decoder_inputs(n: int, points: int) -> dict[str, Array]:
    rng = np.random.default_rng(n)
    return {
        "embedding": rng.standard_normal((1, *SMALL.embedding_shape), np.float32),
        "point_coords": rng.uniform(0, SIDE, (n, points, 2)).astype(np.float32),
        "point_labels": rng.integers(0, 2, (n, points)).astype(np.int32),
        "mask_index": np.array([0], np.int32),
    }


@pytest.fixture(scope="module")
def model(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with its ONNX graphs."""
    folder = tmp_path_factory.mktemp("with graphs") / "small"
    shutil.copytree(small_model, folder)
    lines: list[str] = []
    write_onnx_graphs(folder, lines.append)
    assert not lines
    return folder


def open_with(engine: str, program: Path, threads: int = 1) -> Any:
    if engine == "openvino":
        return OpenVinoEngine(program, threads, "fp32")
    if engine == "onnxruntime":
        return OnnxRuntimeEngine(program, threads)
    return PaddleEngine(program, threads)


OTHERS = pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])


@OTHERS
def test_the_encoder_computes_what_paddle_does(model: Path, engine: str) -> None:
    (expected,) = PaddleEngine(model / "encoder", 1).run(**ENCODER_INPUTS)
    (embedding,) = open_with(engine, model / "encoder").run(**ENCODER_INPUTS)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)


def test_openvino_encodes_a_batch_as_it_encodes_each_image(model: Path) -> None:
    encoder = open_with("openvino", model / "encoder")
    (both,) = encoder.run(**ENCODER_INPUTS)
    for row in range(2):
        (one,) = encoder.run(
            **{name: array[row : row + 1] for name, array in ENCODER_INPUTS.items()}
        )
        np.testing.assert_array_equal(both[row : row + 1], one)
    for pixels, sizes in ((2, 1), (0, 0)):
        with pytest.raises(EngineError, match="as many of every input, and at least one"):
            encoder.run(
                pixels=ENCODER_INPUTS["pixels"][:pixels],
                input_size=ENCODER_INPUTS["input_size"][:sizes],
            )


def test_layers_of_the_encoder_share_what_depends_on_shapes(model: Path) -> None:
    read = openvino_core().read_model(model / "encoder" / ONNX_FILE_NAME)
    given = {node.name for node in read.get_ops()}
    assert fix_rows(read, ROWS["encoder"]) == {"pixels": 1, "input_size": 1}
    assert [list(tensor.shape) for tensor in read.inputs] == [[1, SIDE, SIDE, 3], [1, 2]]
    constants = [node for node in read.get_ops() if node.get_type_name() == "Constant"]
    computed = [
        (tuple(node.shape), node.data.tobytes()) for node in constants if node.name not in given
    ]
    assert len(computed) == len(set(computed))
    # Both blocks read the one padding of the windows.
    (padding,) = (node for node in constants if list(node.shape) == [1, 6, 64, 48])
    assert len(padding.output(0).get_target_inputs()) == 2
    assert not fix_rows(read, ROWS["encoder"]), "nothing varies any more"


def test_inputs_that_a_model_does_not_have_are_left_alone(model: Path) -> None:
    read = openvino_core().read_model(model / "image_terms" / ONNX_FILE_NAME)
    assert fix_rows(read, {"point_coords": 1, "embedding": 2}) == {}


def test_rows_that_do_not_fill_a_run_are_refused(model: Path) -> None:
    pairs = {"point_coords": 2, "point_labels": 2}
    decoder = OpenVinoEngine(model / "prompt_decoder", 1, "fp32", rows=pairs)
    masks, _ = decoder.run(**decoder_inputs(4, 2))
    assert len(masks) == 4
    with pytest.raises(EngineError, match="as many of every input"):
        decoder.run(**decoder_inputs(3, 2))


@OTHERS
def test_one_decoder_takes_any_number_of_prompts(model: Path, engine: str) -> None:
    paddle = PaddleEngine(model / "prompt_decoder", 1)
    other = open_with(engine, model / "prompt_decoder")
    for n, points in ((1, 2), (5, 2), (2, 7), (1, 2)):
        inputs = decoder_inputs(n, points)
        for result, expected in zip(other.run(**inputs), paddle.run(**inputs), strict=True):
            assert result.shape[0] == n
            np.testing.assert_allclose(result, expected, atol=1e-4)


@OTHERS
@pytest.mark.parametrize("masks", [[0], [1, 2, 3]])
def test_the_decoder_of_many_prompts_computes_what_paddle_does(
    model: Path, engine: str, masks: list[int]
) -> None:
    terms, decoder = (open_with(engine, model / name) for name in ("image_terms", "terms_decoder"))
    many = ManyPromptsDecoder(terms, decoder)
    if engine == "openvino":
        many = load_many_prompts_decoder(model, threads=1)
    inputs = decoder_inputs(5, 2) | {"mask_index": np.array(masks, np.int32)}
    prompts = Prompts(inputs["point_coords"], inputs["point_labels"])
    paddle = PaddleEngine(model / "prompt_decoder", 1).run(**inputs)
    parts = list(many.decode(inputs["embedding"], prompts, inputs["mask_index"]))
    for result, expected in zip(list(zip(*parts, strict=True))[1:], paddle, strict=True):
        np.testing.assert_allclose(np.concatenate(result), expected, atol=1e-4)


@OTHERS
def test_results_are_safe_to_keep(model: Path, engine: str) -> None:
    decoder = open_with(engine, model / "prompt_decoder")
    masks, _ = decoder.run(**decoder_inputs(2, 2))
    kept = masks.copy()
    decoder.run(**decoder_inputs(2, 3))
    np.testing.assert_array_equal(masks, kept)


@pytest.mark.parametrize("engine", ["paddle", "openvino", "onnxruntime"])
def test_wrong_input_names_are_an_error_that_lists_the_right_ones(model: Path, engine: str) -> None:
    encoder = open_with(engine, model / "encoder")
    with pytest.raises(EngineError, match=r"encoder takes \['input_size', 'pixels'\], but was"):
        encoder.run(pixel=ENCODER_INPUTS["pixels"], input_size=ENCODER_INPUTS["input_size"])


@OTHERS
def test_a_wrong_shape_is_an_error_and_the_next_run_works(model: Path, engine: str) -> None:
    encoder = open_with(engine, model / "encoder")
    with pytest.raises(EngineError, match="cannot run encoder"):
        encoder.run(pixels=ENCODER_INPUTS["pixels"][:, :7], input_size=ENCODER_INPUTS["input_size"])
    encoder.run(**ENCODER_INPUTS)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("file_name", [ONNX_FILE_NAME, PARAMETERS_FILE_NAME])
def test_a_missing_artefact_says_what_to_do(
    model: Path, tmp_path: Path, engine: str, file_name: str
) -> None:
    shutil.copytree(model / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / file_name).unlink()
    with pytest.raises(EngineError, match=rf"{file_name} is missing: import the model again"):
        open_with(engine, tmp_path / "encoder")


@OTHERS
def test_damaged_files_are_an_error(model: Path, tmp_path: Path, engine: str) -> None:
    shutil.copytree(model / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / ONNX_FILE_NAME).write_bytes(b"nothing")
    with pytest.raises(EngineError, match="cannot load"):
        open_with(engine, tmp_path / "encoder")


def test_the_graph_holds_no_weights(model: Path) -> None:
    for program in ("encoder", "prompt_decoder"):
        graph, weights = (
            (model / program / name).stat().st_size
            for name in (ONNX_FILE_NAME, PARAMETERS_FILE_NAME)
        )
        assert graph < 200_000
        assert weights > 100_000


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_keeps_to_the_threads_that_it_is_given(model: Path, threads: int) -> None:
    engine = OpenVinoEngine(model / "encoder", threads, "fp32")
    compiled = engine._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("NUM_STREAMS") == 1


def test_int8_weights_stand_for_their_matrices(model: Path) -> None:
    read = openvino_core().read_model(model / "encoder" / ONNX_FILE_NAME)
    assert compress_weights(read) == 0, "the small model's matrices are all small"
    with pytest.raises(EngineError, match="no large matrices to make int8"):
        OpenVinoEngine(model / "encoder", 1, "int8")


def test_int8_is_close_to_float32(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovseg.engines.openvino_graph.SMALLEST_COMPRESSED", 100)
    (expected,) = PaddleEngine(model / "encoder", 1).run(**ENCODER_INPUTS)
    (embedding,) = OpenVinoEngine(model / "encoder", 1, "int8").run(**ENCODER_INPUTS)
    difference = np.abs(embedding - expected).max() / np.abs(expected).max()
    assert 1e-5 < difference < 0.1  # not the same, since it is int8, and yet close


def test_a_signal_reaches_a_process_whose_openvino_programs_are_gone(model: Path) -> None:
    code = f"""
import faulthandler, gc, signal
from pathlib import Path
from ovseg.engines.openvino import OpenVinoEngine, cpu_has_bf16

faulthandler.enable()  # Gives the process a stack for signal handlers, as pytest does.
program = Path({str(model / "encoder")!r})
programs = [OpenVinoEngine(program, 1, "fp32") for _ in range(3)]
cpu_has_bf16()
while programs:
    del programs[0]  # The oldest first.
    gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr


def test_importing_openvino_tells_nobody() -> None:
    code = """
import socket, threading

def refuse(*_arguments, **_more):
    raise SystemExit("openvino asks for a network connection")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
from ovseg.engines.openvino import import_openvino
import_openvino()
import sys
assert sys.modules["openvino_telemetry"] is None
assert len(threading.enumerate()) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
