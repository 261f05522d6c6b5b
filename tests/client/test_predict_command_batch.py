"""`ovseg predict` about several images."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from ovseg.cli.predict_files import expand_folders, picture_files
from tests.client.canned import CannedServer, Run, answer

REFUSAL = {"logId": "x", "errorCode": 422, "errorMsg": "not an image"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "more/c.webp", "notes.txt"):
        (folder / name).write_bytes(name.encode())
    return folder


def lines(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_image_is_a_line_in_order(server: CannedServer, run: Run, folder: Path) -> None:
    server.answer = answer(1)
    result = run(
        folder, "https://example.com/d.jpg", "--box", "1,2,3,4", "--json", "--url", server.url
    )

    assert result.exit_code == 0, result.output
    names = [
        folder / "a.png",
        folder / "b.JPG",
        folder / "more/c.webp",
        "https://example.com/d.jpg",
    ]
    assert [line["image"] for line in lines(result)] == [str(name) for name in names]
    assert all(len(line["masks"]) == 1 for line in lines(result))
    assert len(server.sent) == 4


def test_one_that_fails_is_named_and_the_others_are_answered(
    server: CannedServer, run: Run, folder: Path
) -> None:
    server.answer = answer(1)
    server.answers = [(422, REFUSAL)]
    missing = folder / "missing.jpg"
    result = run(
        *(folder, missing, "--box", "1,2,3,4", "--json", "--concurrency", 1, "--url", server.url)
    )

    assert result.exit_code == 1
    assert [Path(line["image"]).name for line in lines(result)] == ["b.JPG", "c.webp"]
    assert f"error: {folder / 'a.png'}: not an image" in result.stderr
    assert f"error: {missing}: No such file" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("status", [None, 401])
def test_what_would_befall_all_of_them_is_said_once(
    server: CannedServer, run: Run, folder: Path, status: int | None
) -> None:
    server.status, server.answer = status or 200, REFUSAL | {"errorMsg": "needs a token"}
    url = server.url if status else "http://127.0.0.1:1"
    result = run(*(folder, "--box", "1,2,3,4", "--concurrency", 1, "--url", url))

    assert result.exit_code == 1
    assert result.stderr.count("error:") == 1
    assert ("needs a token" if status else "ovseg serve") in result.stderr
    assert len(server.sent) < 3


def test_pictures_go_into_a_folder_and_never_over_the_images(
    server: CannedServer, run: Run, folder: Path
) -> None:
    server.answer = answer(1, image=base64.b64encode(b"picture").decode())
    result = run(folder, "--box", "1,2,3,4", "--output", folder, "--url", server.url)

    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == {
        "a.png": b"a.png",
        "b.JPG": b"b.JPG",
        "notes.txt": b"notes.txt",
        "a_masks.jpg": b"picture",
        "b_masks.jpg": b"picture",
        "c_masks.jpg": b"picture",
    }
    assert f"{folder / 'a.png'}: 5 x 3 pixels" in result.stdout.replace("\n", "")


def test_pictures_of_the_same_name_are_numbered() -> None:
    sources = ["x/a.png", "y/a.jpg", "https://example.com/b.jpg?size=3"]

    assert picture_files(sources, Path("out"), True) == [
        Path("out/0000_a_masks.jpg"),
        Path("out/0001_a_masks.jpg"),
        Path("out/0002_b_masks.jpg"),
    ]
    assert picture_files(sources, None, True) == [None] * 3


def test_a_file_is_no_place_for_several_pictures(tmp_path: Path) -> None:
    (tmp_path / "out.jpg").touch()
    with pytest.raises(typer.BadParameter, match="folder"):
        picture_files(["a.png", "b.png"], tmp_path / "out.jpg", True)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(typer.BadParameter, match="no images"):
        expand_folders([str(tmp_path)])
