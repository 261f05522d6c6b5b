"""`ovseg predict`, run as a command against the real service."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from ovseg_client import Client
from PIL import Image

from ovseg.cli.predict_formats import shorten
from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO
from tests.client.canned import Run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_it_prints_a_row_for_each_box(run: Run, photo: Path, standin_service: Any) -> None:
    result = run(
        photo, "--box", "20,10,120,90", "--box", "60,40,180,140", "--url", standin_service.base_url
    )

    assert result.exit_code == 0, result.output
    assert "200 x 150" in result.output
    assert "20,10,120,90" in result.output and "60,40,180,140" in result.output


def test_json_output_holds_whole_masks(run: Run, photo: Path, standin_service: Any) -> None:
    result = run(photo, "--point", "-5,70.5", "--json", "--url", standin_service.base_url)

    assert json.loads(result.stdout)["image"] == str(photo)
    (mask,) = json.loads(result.stdout)["masks"]
    assert mask["prompt"] == [-5, 70.5]
    decoded = pycocotools.mask.decode({"size": mask["size"], "counts": mask["counts"]})
    assert decoded.shape == (150, 200)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_it_writes_the_picture(
    run: Run, photo: Path, tmp_path: Path, standin_service: Any, protocol: str
) -> None:
    url = {
        "rest": standin_service.base_url,
        "grpc": f"grpc://{standin_service.grpc_address}",
    }[protocol]
    result = run(photo, "--point", "50,60", "--output", tmp_path / "out.jpg", "--url", url)

    assert result.exit_code == 0, result.output
    picture = Image.open(io.BytesIO((tmp_path / "out.jpg").read_bytes()))
    assert (picture.format, picture.size) == ("JPEG", (200, 150))


def test_points_on_and_off_an_object_and_its_box_give_one_mask_or_three(
    run: Run, mini_service: Service
) -> None:
    arguments = [
        EXAMPLE_PHOTO, "--box", "150,12,300,150", "--point", "220,100", "--background", "60,400",
    ]  # fmt: skip
    one = run(*arguments, "--json", "--url", mini_service.base_url)
    three = run(*arguments, "--json", "--multimask", "--url", mini_service.base_url)
    table = run(*arguments, "--multimask", "--url", mini_service.base_url)

    (mask,) = json.loads(one.stdout)["masks"]
    assert mask["prompt"] == [150, 12, 300, 150, 220, 100, 60, 400]
    with Client(mini_service.base_url) as client:
        same = client.predict(
            EXAMPLE_PHOTO,
            boxes=[[150, 12, 300, 150]],
            points=[[[220, 100], [60, 400]]],
            labels=[[1, 0]],
        )
    assert mask["counts"] == same.rles[0]["counts"]
    masks = json.loads(three.stdout)["masks"]
    assert len({mask["counts"] for mask in masks}) == 3
    assert table.output.count("150,12,300,150,220,100,60,400") == 3


def test_a_mask_is_refined_by_its_id(run: Run, mini_service: Service) -> None:
    address = ["--url", mini_service.base_url]
    kept = run(EXAMPLE_PHOTO, "--point", "220,100", "--keep-masks", "--json", *address)
    (mask,) = json.loads(kept.stdout)["masks"]
    marks = ["--point", "220,100", "--background", "60,400"]
    refined = run(EXAMPLE_PHOTO, *marks, "--refine", mask["maskId"], "--json", *address)

    with Client(mini_service.base_url) as client:
        first = client.predict(EXAMPLE_PHOTO, points=[[220, 100]], keep_masks=True)
        second = client.predict(
            EXAMPLE_PHOTO, points=[[[220, 100], [60, 400]]], labels=[[1, 0]], refine=first
        )
        anew = client.predict(EXAMPLE_PHOTO, points=[[[220, 100], [60, 400]]], labels=[[1, 0]])
    assert mask["counts"] == first.rles[0]["counts"]
    (better,) = json.loads(refined.stdout)["masks"]
    assert better["counts"] == second.rles[0]["counts"] != anew.rles[0]["counts"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--box or with --point"),
        (["--box", "1,2,3,4", "--point", "1,2"], "or one object with both"),
        (["--together", "--box", "1,2,3,4", "--box", "1,2,3,4"], "one box"),
        (["--box", "1,2,3"], "not of the form x0,y0,x1,y1"),
        (["--point", "1,x"], "not of the form x,y"),
        (["--point", "1,nan"], "not of the form x,y"),
        (["--point", "1,2", "--output", "a.png"], "name it .jpg"),
    ],
)
def test_wrong_usage_says_what_is_right(
    run: Run, photo: Path, arguments: list[str], reason: str
) -> None:
    result = run(photo, *arguments)

    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize(
    ("image", "url", "reason"),
    [
        ("nothing.jpg", "http://127.0.0.1:1", "nothing.jpg: No such file"),
        (__file__, "http://127.0.0.1:1", "ovseg serve"),
        (__file__, "nonsense", "no address of the service"),
    ],
)
def test_failures_are_one_readable_message(run: Run, image: str, url: str, reason: str) -> None:
    result = run(image, "--point", "1,2", "--url", url)

    assert result.exit_code == 1
    assert reason in result.output
    assert "Traceback" not in result.output


def test_the_services_refusal_is_shown(run: Run, standin_service: Any) -> None:
    result = run(__file__, "--point", "1,2", "--url", standin_service.base_url)

    assert result.exit_code == 1
    assert "image" in result.output and "Traceback" not in result.output


def test_long_texts_are_shortened() -> None:
    assert shorten("x" * 10, 10) == "x" * 10
    assert shorten("x" * 11, 10) == "x" * 10 + "… (11 characters)"
