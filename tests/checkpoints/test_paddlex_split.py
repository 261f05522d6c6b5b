"""PaddleX's fused models are cut at the image embedding, or served as they are, with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.static import InputSpec

from ovseg.checkpoints import paddlex_split
from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.engines.paddle_inference import PaddleEngine
from ovseg.exporting.fused_program import FusedProgram
from ovseg.manifest import ModelManifest, PromptKind
from ovseg.network.serving import save_program
from tests.served import BOXES, POINTS, ServedModel
from tests.small_model import small_network

STANDIN_MODELS = Path(__file__).parent.parent / "contract" / "data" / "standin_models"
SIDE = 32


@pytest.fixture(scope="module")
def both_forms(
    exported_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[str]]:
    """Our export, imported cut and uncut; and what the import of the former said."""
    folders = [exported_model / "SAM-H_box", exported_model / "SAM-H_point"]
    model_dir = tmp_path_factory.mktemp("cut")
    lines: list[str] = []
    install_paddlex_model(folders, model_dir, "cut", lines.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paddlex_split, "TOLERANCE", -1.0)
        install_paddlex_model(folders, model_dir, "fused")
    return model_dir / "cut", model_dir / "fused", lines


def test_a_box_and_a_point_model_become_one_encoder_and_two_decoders(
    both_forms: tuple[Path, Path, list[str]],
) -> None:
    cut, _, lines = both_forms
    manifest = ModelManifest.load(cut)
    assert (manifest.kind, manifest.embedding_shape) == ("cut", (32, 64, 64))
    assert sorted(path.name for path in cut.iterdir()) == ["box", "encoder", "model.json", "point"]
    assert lines[-1] == "cut in two: one encoder serves all prompts on an image"


def test_the_encoders_weights_are_there_once(both_forms: tuple[Path, Path, list[str]]) -> None:
    cut, fused, _ = both_forms
    sizes = {
        name: (folder / name / "inference.pdiparams").stat().st_size
        for folder, names in ((cut, ("encoder", "box")), (fused, ("point",)))
        for name in names
    }
    assert sizes["encoder"] + sizes["box"] < 1.01 * sizes["point"]


def test_one_embedding_gives_boxes_and_points_the_masks_of_the_fused_programs(
    both_forms: tuple[Path, Path, list[str]],
) -> None:
    cut, fused = ServedModel(both_forms[0]), ServedModel(both_forms[1])
    embedding, image = cut.embed(), fused.embed()
    assert embedding.shape == (1, 32, 64, 64)
    for prompts in (BOXES, POINTS):
        masks, expected = cut.decode(embedding, prompts), fused.decode(image, prompts)
        np.testing.assert_allclose(masks, expected, atol=1e-5)
        assert cut.rles(masks) == fused.rles(expected)


def test_parts_that_compute_something_else_are_not_installed(
    both_forms: tuple[Path, Path, list[str]],
) -> None:
    _, fused, _ = both_forms  # its tolerance could not be met
    manifest = ModelManifest.load(fused)
    assert (manifest.kind, manifest.embedding_shape) == ("fused", (3, 256, 256))
    assert sorted(path.name for path in fused.iterdir()) == ["box", "model.json", "point"]


def test_a_box_model_alone_is_cut_too(exported_model: Path, tmp_path: Path) -> None:
    manifest = install_paddlex_model([exported_model / "SAM-H_box"], tmp_path, "box")
    assert (manifest.kind, manifest.prompt_kinds) == ("cut", ("box",))


@pytest.mark.parametrize("what_differs", ["everything", "the last block"])
def test_models_with_different_encoders_stay_apart(
    exported_model: Path, tmp_path: Path, what_differs: str
) -> None:
    network = small_network(seed=2 if what_differs == "everything" else 1)
    weight = network.image_encoder.blocks[-1].mlp.lin2.weight
    weight.set_value(weight * 1.01)
    other = tmp_path / "SAM-H_point"
    shutil.copytree(exported_model / "SAM-H_point", other)
    save_program(FusedProgram(network, "point"), other)
    lines: list[str] = []
    folders = [exported_model / "SAM-H_box", other]
    assert install_paddlex_model(folders, tmp_path, "model", lines.append).kind == "fused"
    assert "their image encoders differ" in lines[-1]


def test_the_stand_ins_have_no_embedding_and_are_served_as_they_are(tmp_path: Path) -> None:
    lines: list[str] = []
    folders = [STANDIN_MODELS / "SAM-H_box", STANDIN_MODELS / "SAM-H_point"]
    assert install_paddlex_model(folders, tmp_path, "SAM-H", lines.append).kind == "fused"
    assert lines[-1].startswith("served as it is")
    assert "no image embedding" in lines[-1]


class ForeignModel(nn.Layer):
    """Built as other exporters do: the embedding repeated for each prompt, a branch, odd names.

    Args:
        skip: the masks read the image past the embedding too.
    """

    def __init__(self, skip: bool) -> None:
        super().__init__()
        paddle.seed(3)
        self.skip = skip
        self.patches = nn.Conv2D(3, 8, 4, stride=4)
        self.mix = nn.Conv2D(8, 8, 3, padding=1)
        self.token = nn.Linear(4, 8)
        self.upscale = nn.Conv2DTranspose(8, 1, 4, stride=4)

    def forward(self, img: paddle.Tensor, prompt: paddle.Tensor) -> paddle.Tensor:
        patches = self.patches(img)
        embedding = nn.functional.relu(self.mix(patches)) + patches  # a path around the layer
        tokens = self.token(prompt / SIDE)
        if prompt.sum() > SIDE:
            tokens = tokens + embedding.mean() * 0.1
        source = paddle.repeat_interleave(embedding, tokens.shape[0], axis=0)
        masks = self.upscale(source * tokens.unsqueeze(-1).unsqueeze(-1))
        return masks + img.mean(axis=1, keepdim=True) if self.skip else masks


@pytest.fixture
def foreign_model(exported_model: Path, tmp_path: Path) -> Callable[[bool], Path]:
    """Write a foreign box model; returns its folder."""

    def write(skip: bool) -> Path:
        model = ForeignModel(skip)
        model.eval()
        folder = tmp_path / "foreign"
        specs = [
            InputSpec([1, 3, SIDE, SIDE], "float32", "img"),
            InputSpec([None, 4], "float32", "prompt"),
        ]
        paddle.jit.save(model, str(folder / "inference"), input_spec=specs)
        settings = (exported_model / "SAM-H_box" / "inference.yml").read_text("utf-8")
        settings = settings.replace("size: 256", f"size: {SIDE}")
        (folder / "inference.yml").write_text(settings, "utf-8")
        return folder

    return write


def test_the_embedding_is_found_whatever_the_exporter_calls_things(
    foreign_model: Callable[[bool], Path], tmp_path: Path
) -> None:
    folder = foreign_model(False)
    lines: list[str] = []
    manifest = install_paddlex_model([folder], tmp_path, "model", lines.append)
    assert (manifest.kind, manifest.embedding_shape) == ("cut", (8, 8, 8)), lines
    image = np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE), np.float32)
    for boxes in ([[1, 2, 3, 4]], [[5, 6, 20, 30], [7, 8, 9, 10]]):  # both sides of the branch
        prompts = np.array(boxes, np.float32)
        (expected,) = PaddleEngine(folder, threads=1).run(img=image, prompt=prompts)
        (embedding,) = PaddleEngine(tmp_path / "model" / "encoder", threads=1).run(images=image)
        decoder = PaddleEngine(tmp_path / "model" / "box", threads=1)
        (masks,) = decoder.run(embedding=embedding, prompts=prompts)
        np.testing.assert_allclose(masks, expected, atol=1e-5)


def test_a_model_whose_masks_look_past_the_embedding_is_not_cut(
    foreign_model: Callable[[bool], Path], tmp_path: Path
) -> None:
    folder = foreign_model(True)
    manifest = install_paddlex_model([folder], tmp_path, "model")
    assert manifest.kind == "fused"
    # Its inputs carry our names all the same.
    engine = PaddleEngine(tmp_path / "model" / "box", threads=1)
    assert sorted(engine.input_names) == ["images", "prompts"]


@pytest.mark.parametrize("kind", ["box", "point"])
def test_a_cut_model_can_be_exported_program_by_program(
    both_forms: tuple[Path, Path, list[str]], tmp_path: Path, kind: PromptKind
) -> None:
    from ovseg.exporting.export_model import export_model

    export_model(both_forms[0], "paddle", tmp_path / "out")
    assert (tmp_path / "out" / kind / "inference.json").is_file()
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "in: `embedding`" in readme and "in: `images`" in readme
    assert "`point_coords`" not in readme
