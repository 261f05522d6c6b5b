"""Every kind of image file, and damaged ones, through the real gateway and the real Triton."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from ovseg.server.service import Service
from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image import decode_image
from tests.stages.image_files import encoded, grey_tiff, jpeg_with_more_scans, png, png_chunk
from tests.stages.test_hostile_images import FILES, corpus
from tests.stages.test_image_files import GREY, OTHER, PICTURE, deep_rows

PATH = "/open-vocabulary-segmentation"
DEEP = np.random.default_rng(1).integers(0, 65536, (37, 53, 3)).astype(np.uint16)
TURNED = Image.Exif()
TURNED[0x0112] = 6
WHOLE = FILES | {
    "one bit": encoded(Image.fromarray(GREY > 127), "PNG"),
    "grey": encoded(Image.fromarray(GREY), "PNG"),
    "grey and alpha": encoded(Image.fromarray(GREY).convert("LA"), "PNG"),
    "alpha": encoded(PICTURE.convert("RGBA"), "WEBP"),
    "transparent palette": encoded(PICTURE.quantize(16), "PNG", transparency=3),
    "16-bit grey": encoded(Image.fromarray(DEEP[:, :, 0]), "PNG"),
    "16-bit colour": png((53, 37), deep_rows(DEEP), depth=16),
    "turned": encoded(PICTURE, "JPEG", exif=TURNED),
    "two frames": encoded(PICTURE, "WEBP", save_all=True, append_images=[OTHER]),
    "two pages": encoded(PICTURE, "TIFF", save_all=True, append_images=[OTHER]),
    "1x1": encoded(PICTURE.resize((1, 1)), "PNG"),
    "1x2000": encoded(PICTURE.resize((1, 2000)), "PNG"),
    "2000x1": encoded(PICTURE.resize((2000, 1)), "JPEG"),
}
HOSTILE = {
    "empty": (b"", "empty"),
    "text": (b"no image", "not an image in a supported format"),
    "other format": (b"P6 1 1 255\nabc", "not an image in a supported format"),
    "cut JPEG": (FILES["JPEG"][:-300], "truncated"),
    "cut PNG": (FILES["PNG"][:3000], "truncated"),
    "rows that are not there": (png((53, 370), bytes(160 * 37)), "a part of it is missing"),
    "many scans": (jpeg_with_more_scans(PICTURE, 101), "scans"),
    "huge tiles": (grey_tiff((4, 4), b"", {322: 60000, 323: 60000, 324: 8, 325: 1}), "tiles"),
    "too many pixels": (
        png((60000, 60000), b"", colour=0, further=png_chunk(b"tEXt", b"k\0v")),
        "60000x60000 is over the limit",
    ),
}


@pytest.fixture(scope="module")
def http(standin_service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=standin_service.base_url, timeout=60, trust_env=False) as client:
        yield client


def body(file: bytes, visualize: bool = False) -> dict[str, object]:
    return {
        "image": base64.b64encode(file).decode(),
        "promptType": "box",
        "prompt": [[0, 0, 9, 9]],
        "visualize": visualize,
    }


@pytest.mark.parametrize("name", WHOLE)
def test_every_kind_of_image_file_gets_a_mask_of_its_size(http: httpx.Client, name: str) -> None:
    expected = decode_image(WHOLE[name], 10**6).shape[:2]
    response = http.post(PATH, json=body(WHOLE[name], visualize=True))

    assert response.status_code == 200, response.text
    result = response.json()["result"]
    assert tuple(result["masks"][0]["size"]) == expected
    with Image.open(io.BytesIO(base64.b64decode(result["image"]))) as picture:
        assert picture.size == expected[::-1]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_file_is_a_422_that_says_why(http: httpx.Client, name: str) -> None:
    file, told = HOSTILE[name]
    response = http.post(PATH, json=body(file))

    assert response.status_code == 422, response.text
    (problem,) = json.loads(response.json()["errorMsg"])
    assert problem["loc"] == "body.image"
    assert told in problem["msg"]


def test_damaged_files_get_a_mask_or_a_422_and_nothing_else(http: httpx.Client) -> None:
    statuses = []
    for file in corpus(200, seed=5):
        try:
            decode_image(file, 89_478_485)
            expected = 200
        except InvalidInputError:
            expected = 422
        response = http.post(PATH, json=body(file))
        assert response.status_code == expected, response.text
        statuses.append(expected)
    assert min(statuses.count(200), statuses.count(422)) > 20


def test_a_compressed_body_is_answered(http: httpx.Client) -> None:
    content = gzip.compress(json.dumps(body(FILES["JPEG"])).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    assert http.post(PATH, content=content, headers=headers).status_code == 200
