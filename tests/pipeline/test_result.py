"""What results print and write, without a server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from ovseg_client import Prediction
from ovseg_client.pipeline.inputs import InputImage
from ovseg_client.pipeline.result import SegmentationResult
from ovseg_client.prediction import Rle
from PIL import Image

MASKS = np.array([[[0, 1, 1], [0, 0, 1]], [[1, 0, 0], [0, 0, 0]]], np.uint8)
BOXES = [[0, 0, 2, 1], [0.5, 0, 1, 1]]


def image_file(kind: str, color: tuple[int, int, int], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), color).save(file, kind, **options)
    return file.getvalue()


# Of a quality that Pillow does not write by itself.
OVERLAY = image_file("JPEG", (200, 30, 30), quality=40)


def make_result(
    path: str | None = "photos/照片.jpg", page: int | None = None, visualize: bool = True
) -> SegmentationResult:
    encoded = pycocotools.mask.encode(np.asfortranarray(MASKS.transpose(1, 2, 0)))
    prediction = Prediction(
        rles=[Rle(size=[2, 3], counts=rle["counts"].decode()) for rle in encoded],
        scores=np.array([0.9, 0.5], np.float32),
        size=(2, 3),
        overlay=OVERLAY if visualize else None,
    )
    source = InputImage(path, page, image_file("PNG", (10, 20, 30)))
    return SegmentationResult(source, "box", BOXES, prediction)


def test_it_is_a_dictionary_of_int8_masks() -> None:
    result = make_result()

    assert list(result) == ["input_path", "prompts", "masks", "mask_infos"]
    assert [mask.dtype for mask in result["masks"]] == [np.int8, np.int8]
    assert np.array_equal(result["masks"], MASKS)
    assert result["mask_infos"][1] == {"label": "box_prompt", "prompt": [0.5, 0, 1, 1]}


def test_the_image_is_there_when_asked_for_and_never_printed(capsys: Any) -> None:
    result = make_result()

    assert result["input_img"].tolist() == [[[10, 20, 30]] * 3] * 2
    result.print()
    assert "input_img" not in capsys.readouterr().out
    assert "input_img" not in result.json["res"]


def test_another_key_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="boxes"):
        make_result()["boxes"]


def test_json_is_lists_and_numbers() -> None:
    content = make_result().json["res"]

    assert content["masks"] == MASKS.tolist()
    assert json.loads(json.dumps(content)) == content


@pytest.mark.parametrize("arguments", [{"format_json": True}, {"json_format": True}])
def test_it_prints_json_under_either_name(capsys: Any, arguments: dict[str, bool]) -> None:
    make_result().print(indent=2, ensure_ascii=False, **arguments)

    printed = capsys.readouterr().out
    assert printed.startswith('{\n  "res": {\n    "input_path": "photos/照片.jpg"')
    assert json.loads(printed)["res"]["masks"] == "..."


def test_it_prints_python_by_default(capsys: Any) -> None:
    make_result().print()

    assert capsys.readouterr().out.startswith("{'res': {'input_path': 'photos/照片.jpg'")


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("indent", [4, 1, 0, None])
def test_the_json_file_holds_what_json_does(
    tmp_path: Path, indent: int | None, ensure_ascii: bool
) -> None:
    result = make_result()

    result.save_to_json(tmp_path, indent=indent, ensure_ascii=ensure_ascii)

    text = (tmp_path / "照片_res.json").read_text("utf-8")
    assert json.loads(text) == result.json["res"]
    assert ("照片" in text) is not ensure_ascii
    assert ("\n" in text) is (indent is not None)


def test_each_row_of_a_mask_is_a_line_of_the_json_file(tmp_path: Path) -> None:
    make_result().save_to_json(tmp_path / "a.json", indent=2)

    assert '  "masks": [\n    [\n      [0, 1, 1],\n      [0, 0, 1]\n    ],\n    [\n' in (
        tmp_path / "a.json"
    ).read_text("utf-8")


def test_further_options_go_to_json_dumps(tmp_path: Path) -> None:
    result = make_result()

    result.save_to_json(tmp_path / "a.json", sort_keys=True, separators=(",", " : "))

    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == result.json["res"]
    assert '"input_path" : ' in text
    assert text.index('"input_path"') < text.index('"mask_infos"') < text.index('"masks"')


@pytest.mark.parametrize(
    ("path", "page", "picture"),
    [
        ("a/photo.jpg", None, "photo_res.jpg"),
        ("photo.JPEG", None, "photo_res.JPEG"),
        ("photo.png", None, "photo_res.png"),
        ("doc.pdf", None, "doc_res.png"),
        ("doc.pdf", 2, "doc_2_res.png"),
        ("scan.tiff", 0, "scan_0_res.tiff"),
        ("noname", None, "noname_res.png"),
        ("photo.svg", None, "photo_res.png"),
        ("http://example.com/b/photo%20one.jpg?size=5", None, "photo one_res.jpg"),
    ],
)
def test_file_names_come_from_the_input(
    tmp_path: Path, path: str, page: int | None, picture: str
) -> None:
    make_result(path, page).save_all(tmp_path / "new" / "folder")

    names = {file.name for file in (tmp_path / "new" / "folder").iterdir()}
    assert names == {picture, f"{Path(picture).stem}.json"}


def test_an_array_has_one_made_up_name_for_both_files(tmp_path: Path) -> None:
    make_result(path=None).save_all(tmp_path)

    picture, written = sorted(tmp_path.iterdir(), key=lambda file: file.suffix, reverse=True)
    assert picture.suffix == ".png"
    assert picture.stem == written.stem
    assert picture.stem.endswith("_res")


def test_a_jpeg_is_the_servers_own_file(tmp_path: Path) -> None:
    make_result().save_to_img(tmp_path / "a.jpg")

    assert (tmp_path / "a.jpg").read_bytes() == OVERLAY


def test_other_pictures_show_the_same_pixels(tmp_path: Path) -> None:
    result = make_result()

    result.save_to_img(tmp_path / "a.png")

    with Image.open(tmp_path / "a.png") as saved:
        assert saved.format == "PNG"
        assert np.array_equal(np.asarray(saved), np.asarray(result.img["res"]))


def test_without_a_picture_it_says_why(tmp_path: Path) -> None:
    result = make_result(visualize=False)

    with pytest.raises(ValueError, match="visualize=False"):
        result.save_to_img(tmp_path)
    with pytest.raises(ValueError, match="visualize=False"):
        _ = result.img
    assert list(tmp_path.iterdir()) == []
