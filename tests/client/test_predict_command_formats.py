"""`ovseg predict --format …`, and refining; against a canned server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.client.canned import CannedServer, Run, answer

MASKS = np.eye(3, dtype=np.bool_)[:, :, None] & np.ones(5, np.bool_)
"""The masks of the canned answer: row i of 3 x 5 pixels is mask i."""
REFUSAL = {"logId": "x", "errorCode": 422, "errorMsg": "not an image"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    for name in ("a.png", "more/b.png"):
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def predict(run: Run, server: CannedServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with two boxes; the server's address is in the environment."""
    monkeypatch.setenv("OVSEG_URL", server.url)
    server.answer = answer(2)
    return lambda *arguments: run(*arguments, "--box", "1,2,3,4", "--box", "0,0,5,3")


def masks_in(result: Any) -> list[dict[str, Any]]:
    masks: list[dict[str, Any]] = json.loads(result.stdout)["masks"]
    return masks


def test_json_has_two_names(predict: Run, photos: Path) -> None:
    plain = predict(photos, "--json")

    assert plain.exit_code == 0, plain.output
    assert predict(photos, "--format", "json").stdout == plain.stdout != ""


def test_polygons_are_outlines_with_boxes_and_areas(predict: Run, photos: Path) -> None:
    result = predict(photos / "a.png", "--format", "polygons")

    line = json.loads(result.stdout)
    assert (line["image"], line["size"]) == (str(photos / "a.png"), [3, 5])
    assert line["masks"] == [
        {
            "prompt": [1, 2, 3, 4],
            "score": 0.5,
            "box": [0, 0, 5, 1],
            "area": 5,
            "polygons": [[0, 0, 5, 0, 5, 1, 0, 1]],
        },
        {
            "prompt": [0, 0, 5, 3],
            "score": 0.5,
            "box": [0, 1, 5, 1],
            "area": 5,
            "polygons": [[0, 1, 5, 1, 5, 2, 0, 2]],
        },
    ]


def test_polygons_of_a_folder_are_lines_of_one_file(predict: Run, photos: Path) -> None:
    file = photos.parent / "polygons.jsonl"
    file.write_text("of yesterday\n")
    printed = predict(photos, "--format", "polygons")
    written = predict(photos, "--format", "polygons", "--output", file)

    assert (written.stdout, written.stderr) == ("", f"wrote {file}\n")
    assert file.read_text() == printed.stdout
    assert len(printed.stdout.splitlines()) == 2


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
def test_a_folder_becomes_one_annotation_file(predict: Run, photos: Path, kind: str) -> None:
    file = photos.parent / "new" / "annotations.json"
    printed = predict(photos, "--format", kind, "--category", "cell")
    written = predict(photos, "--format", kind, "--category", "cell", "--output", file)

    assert written.exit_code == 0, written.output
    assert json.loads(printed.stdout) == json.loads(file.read_text())
    assert (written.stdout, written.stderr) == ("", f"wrote {file}\n")
    coco = COCO(str(file))
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a.png", "more/b.png"]
    assert coco.loadCats([1])[0]["name"] == "cell"
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [annotation["image_id"] for annotation in annotations] == [1, 1, 2, 2]
    for annotation, mask in zip(annotations, [*MASKS[:2], *MASKS[:2]], strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert isinstance(annotation["segmentation"], list) == (kind == "coco-polygons")


def test_images_that_were_named_keep_their_names_in_annotations(predict: Run, photos: Path) -> None:
    result = predict(photos / "more" / "b.png", photos, "--format", "coco")

    names = [image["file_name"] for image in json.loads(result.stdout)["images"]]
    assert names == [str(photos / name) for name in ("more/b.png", "a.png", "more/b.png")]


def test_annotations_are_written_although_an_image_failed(
    predict: Run, photos: Path, server: CannedServer
) -> None:
    server.answers = [(422, REFUSAL)]
    result = predict(photos, "--format", "coco", "--concurrency", 1)

    assert result.exit_code == 1
    assert [image["file_name"] for image in json.loads(result.stdout)["images"]] == ["more/b.png"]
    assert "a.png: not an image" in result.stderr


def test_nothing_is_printed_where_everything_failed(
    predict: Run, photos: Path, server: CannedServer
) -> None:
    server.status, server.answer = 422, REFUSAL
    result = predict(photos, "--format", "coco")

    assert (result.exit_code, result.stdout) == (1, "")


def test_each_mask_becomes_a_picture(predict: Run, photos: Path) -> None:
    result = predict(photos, "--format", "png", "--output", photos.parent / "masks")

    files = [Path(line) for line in result.stdout.splitlines()]
    assert [file.relative_to(photos.parent).as_posix() for file in files] == [
        "masks/a_mask_1.png",
        "masks/a_mask_2.png",
        "masks/b_mask_1.png",
        "masks/b_mask_2.png",
    ]
    for file, mask in zip(files, [*MASKS[:2], *MASKS[:2]], strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), mask * 255)


def test_all_masks_become_one_picture(
    predict: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    result = predict(photos / "a.png", "--format", "labels")

    assert result.stdout == "a_labels.png\n"
    assert np.array_equal(np.asarray(Image.open("a_labels.png")), [[1] * 5, [2] * 5, [0] * 5])


def test_objects_are_cut_out(predict: Run, photos: Path) -> None:
    result = predict(photos / "a.png", "--format", "cutout", "--output", photos.parent)

    assert result.exit_code == 0, result.output
    second = np.asarray(Image.open(photos.parent / "a_cutout_2.png"))
    assert second.shape == (1, 5, 4)
    assert second[0, :, :3].tolist() == np.arange(15, 30).reshape(5, 3).tolist()
    assert (second[..., 3] == 255).all()


def test_an_image_that_cannot_be_fetched_again_is_named(
    predict: Run, photos: Path, tmp_path: Path
) -> None:
    url = "http://127.0.0.1:1/c.png"
    result = predict(url, photos / "a.png", "--format", "cutout", "--output", tmp_path)

    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert url in result.stderr and "ovseg serve" not in result.stderr


def test_one_picture_may_have_a_name_and_several_may_not(
    predict: Run, run: Run, photos: Path, server: CannedServer, tmp_path: Path
) -> None:
    two = predict(photos / "a.png", "--format", "png", "--output", tmp_path / "mask.png")
    server.answer = answer(1)
    one = run(
        *(photos / "a.png", "--point", "1,2", "--format", "png", "--output", tmp_path / "mask.png")
    )

    assert two.exit_code == 1 and "let --output be a folder" in two.stderr
    assert one.stdout == f"{tmp_path / 'mask.png'}\n"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), MASKS[0] * 255)


def test_of_candidates_the_best_is_written(
    run: Run, photos: Path, server: CannedServer, tmp_path: Path
) -> None:
    server.answer = answer(3)
    infos = [{"label": "prompt", "score": score} for score in (0.1, 0.9, 0.3)]
    server.answer["result"]["maskInfos"] = infos
    arguments = [photos / "a.png", "--point", "1,2", "--multimask", "--url", server.url]
    pictured = run(*arguments, "--format", "png", "--output", tmp_path / "mask.png")
    outlined = run(*arguments, "--format", "polygons")

    assert pictured.exit_code == 0, pictured.output
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), MASKS[1] * 255)
    (mask,) = masks_in(outlined)
    assert (mask["polygons"], mask["score"]) == ([[0, 1, 5, 1, 5, 2, 0, 2]], np.float32(0.9))


def test_a_kept_mask_is_shown_and_refined(
    predict: Run, run: Run, photos: Path, server: CannedServer
) -> None:
    server.answer["result"]["maskInfos"] = [{"maskId": letter * 32} for letter in "cd"]
    shown = predict(photos / "a.png", "--keep-masks")
    listed = predict(photos / "a.png", "--keep-masks", "--json")
    assert shown.exit_code == 0, shown.output
    assert "c" * 32 in shown.stdout and "d" * 32 in shown.stdout
    assert [mask["maskId"] for mask in masks_in(listed)] == ["c" * 32, "d" * 32]
    assert all(sent["keepMasks"] for sent in server.sent)

    server.answer = answer(1)
    point = ["--point", "1,2", "--background", "3,1"]
    refined = run(photos / "a.png", *point, "--refine", "d" * 32, "--json")

    assert refined.exit_code == 0, refined.output
    assert server.sent[-1]["prompts"] == [
        {"points": [[1, 2], [3, 1]], "labels": [1, 0], "maskId": "d" * 32}
    ]
    assert "maskId" not in masks_in(refined)[0]
    decoded = pycocotools.mask.decode(masks_in(refined)[0])
    assert np.array_equal(decoded, MASKS[0])


def test_there_is_a_mask_to_refine_for_each_object(predict: Run, photos: Path) -> None:
    result = predict(photos / "a.png", "--refine", "abc")

    assert result.exit_code == 1
    assert "as many masks as there are prompts, not 1 and 2" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "nonsense"], "'coco-polygons'"),
        (["--format", "coco", "--json"], "no other --format"),
        (["--category", "cell"], "only COCO files"),
        (["--format", "coco", "--output", "."], "this is a file"),
        (["--format", "png", "--output", __file__], "this is a folder"),
        (["--keep-masks", "--format", "png"], "only table and json"),
        (["--keep-masks", "--url", "grpc://localhost:1"], "http(s) address"),
        (["--refine", "a", "--url", "grpc://localhost:1"], "http(s) address"),
        (["--refine", "a", __file__], "a mask is of one image"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    predict: Run, photos: Path, arguments: list[str], reason: str
) -> None:
    result = predict(photos / "a.png", *arguments)

    assert result.exit_code == 2
    assert reason in " ".join(result.output.replace("│", " ").split())
