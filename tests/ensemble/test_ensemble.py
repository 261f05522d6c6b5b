"""The ensemble through the real Triton, over gRPC, as `tritonclient` users call it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray
from PIL import Image
from tritonclient.utils import InferenceServerException

from ovseg.server.service import Service
from ovseg.server.stage_times import watch_stages
from ovseg.stages.masks import decode_rle, upsample_mask

PHOTO = Path(__file__).parents[1] / "contract" / "data" / "images" / "base.jpg"
HEIGHT, WIDTH = 750, 1000
BOXES = np.array([[[100, 100], [300, 300]], [[400, 200], [700, 500]]], np.float32)
BOX_LABELS = np.array([[2, 3], [2, 3]], np.int32)
TYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL", "object": "BYTES"}


class Ensemble:
    """A gRPC client of the ensemble."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = triton.InferenceServerClient(address)

    def __call__(
        self, outputs: tuple[str, ...] = ("counts", "size", "scores"), **tensors: Any
    ) -> dict[str, NDArray[Any]]:
        tensors.setdefault("image", np.array([PHOTO.read_bytes()], np.object_))
        inputs = []
        for name, array in tensors.items():
            tensor = triton.InferInput(name, list(array.shape), TYPES[str(array.dtype)])
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        answer = self.client.infer(
            "open_vocabulary_segmentation",
            inputs,
            outputs=[triton.InferRequestedOutput(name) for name in outputs],
            client_timeout=60,
        )
        return {name: answer.as_numpy(name) for name in outputs}


@pytest.fixture(scope="module")
def ensemble(mini_service: Service) -> Iterator[Ensemble]:
    caller = Ensemble(mini_service.grpc_address)
    yield caller
    caller.client.close()


def test_each_prompt_has_one_mask_with_its_score(ensemble: Ensemble) -> None:
    answer = ensemble(point_coords=BOXES, point_labels=BOX_LABELS)
    assert answer["size"].tolist() == [HEIGHT, WIDTH]
    assert answer["counts"].shape == answer["scores"].shape == (2, 1)
    assert np.isfinite(answer["scores"]).all()
    for counts in answer["counts"].ravel():
        assert decode_rle(counts, (HEIGHT, WIDTH)).shape == (HEIGHT, WIDTH)


def test_multimask_gives_three_candidates(ensemble: Ensemble) -> None:
    answer = ensemble(
        point_coords=BOXES[:1, :1] + 50,
        point_labels=np.array([[1]], np.int32),
        multimask=np.array([True]),
    )
    assert answer["counts"].shape == answer["scores"].shape == (1, 3)


def test_low_res_masks_are_the_logits_of_the_counts(ensemble: Ensemble) -> None:
    answer = ensemble(("counts", "low_res_masks"), point_coords=BOXES, point_labels=BOX_LABELS)
    assert answer["low_res_masks"].shape == (2, 1, 256, 256)
    for low_res, counts in zip(answer["low_res_masks"], answer["counts"], strict=True):
        np.testing.assert_array_equal(
            upsample_mask(low_res[0], 512, (HEIGHT, WIDTH)), decode_rle(counts[0], (HEIGHT, WIDTH))
        )


def test_a_mask_input_refines_and_counts(ensemble: Ensemble) -> None:
    first = ensemble(("low_res_masks",), point_coords=BOXES, point_labels=BOX_LABELS)
    plain = ensemble(("low_res_masks",), point_coords=BOXES, point_labels=BOX_LABELS)
    refined = ensemble(
        ("low_res_masks",),
        point_coords=BOXES,
        point_labels=BOX_LABELS,
        mask_input=first["low_res_masks"][:, 0],
    )
    np.testing.assert_array_equal(plain["low_res_masks"], first["low_res_masks"])
    assert not np.array_equal(refined["low_res_masks"], first["low_res_masks"])


def test_prompts_together_give_what_each_gives_alone(ensemble: Ensemble) -> None:
    coords = np.array(
        [
            [[100, 100], [300, 300], [0, 0]],
            [[200, 200], [0, 0], [0, 0]],
            [[9, 9], [200, 200], [350, 300]],
        ],
        np.float32,
    )
    labels = np.array([[2, 3, -1], [1, -1, -1], [0, 1, 1]], np.int32)
    together = ensemble(("low_res_masks",), point_coords=coords, point_labels=labels)
    for row in range(3):
        used = labels[row] >= 0
        alone = ensemble(
            ("low_res_masks",),
            point_coords=coords[row : row + 1, used],
            point_labels=labels[row : row + 1, used],
        )
        np.testing.assert_allclose(
            alone["low_res_masks"][0], together["low_res_masks"][row], atol=1e-3
        )


def test_the_encoder_runs_once_an_image(ensemble: Ensemble) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8)).save(
        file, "PNG"
    )
    image = np.array([file.getvalue()], np.object_)
    prompt = {"point_coords": BOXES / 20, "point_labels": BOX_LABELS}
    with watch_stages(ensemble.address) as new:
        first = ensemble(image=image, **prompt)
    with watch_stages(ensemble.address) as again:
        second = ensemble(image=image, **prompt)
    assert "sam_encoder" in new and not new.cache_hit
    assert "sam_encoder" not in again and "preprocess" not in again and again.cache_hit
    np.testing.assert_array_equal(first["counts"], second["counts"])


def test_the_picture_is_drawn_only_when_asked_for(ensemble: Ensemble) -> None:
    with watch_stages(ensemble.address) as without:
        ensemble(point_coords=BOXES, point_labels=BOX_LABELS)
    with watch_stages(ensemble.address) as with_picture:
        answer = ensemble(("overlay",), point_coords=BOXES, point_labels=BOX_LABELS)
    assert "visualize" not in without
    assert "visualize" in with_picture
    with Image.open(io.BytesIO(answer["overlay"][0])) as picture:
        assert (picture.format, picture.size) == ("JPEG", (WIDTH, HEIGHT))


def test_no_prompts_give_empty_answers(ensemble: Ensemble) -> None:
    answer = ensemble(
        ("counts", "scores", "size", "overlay"),
        point_coords=np.zeros((0, 2, 2), np.float32),
        point_labels=np.zeros((0, 2), np.int32),
    )
    assert answer["counts"].shape == answer["scores"].shape == (0, 1)
    assert answer["size"].tolist() == [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"image": np.array([b"text"], np.object_)}, "image: not an image"),
        ({"image": np.array([PHOTO.read_bytes()[:20_000]], np.object_)}, "image: damaged or trunc"),
        ({"point_coords": np.full((2, 2, 2), np.nan, np.float32)}, "point_coords: a coordinate"),
        ({"point_labels": np.full((2, 2), 7, np.int32)}, "point_labels: labels are"),
        ({"point_labels": np.full((2, 2), 2, np.int32)}, "point_labels: a box is"),
        ({"mask_input": np.zeros((3, 256, 256), np.float32)}, r"mask_input: shape \[3, 256, 256\]"),
    ],
)
def test_callers_mistakes_are_invalid_argument_naming_the_tensor(
    ensemble: Ensemble, tensors: dict[str, NDArray[Any]], told: str
) -> None:
    with pytest.raises(InferenceServerException, match=told) as caught:
        ensemble(**{"point_coords": BOXES, "point_labels": BOX_LABELS, **tensors})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
