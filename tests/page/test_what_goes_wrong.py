"""Pictures that are too much, services that refuse: the page says so in words and goes on."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg.server.service import Service
from tests.page.chromium import wait_until
from tests.page.person import Person
from tests.page.tab import Tab

API = "*/open-vocabulary-segmentation"
FAILED = "Failed to load resource"
"""Chromium's own line for each answer that is an error."""


def notice(tab: Tab) -> str:
    tab.wait("!document.getElementById('notice').hidden")
    return tab.text("#notice-text")


def answer_next(tab: Tab, status: int, message: str, **headers: str) -> None:
    """Answer the next request to the API in the service's stead; later ones are let through."""
    tab.call("Fetch.enable", patterns=[{"urlPattern": API}])
    seen = len(tab.events("Fetch.requestPaused"))
    tab.click("#new-object")
    tab.click(Person(tab).place(300 + seen, 300))
    event = wait_until(lambda: tab.events("Fetch.requestPaused")[seen:], "a request")[0]
    body = json.dumps({"logId": "x", "errorCode": status, "errorMsg": message}).encode()
    tab.call(
        "Fetch.fulfillRequest",
        requestId=event["requestId"],
        responseCode=status,
        responseHeaders=[
            {"name": name.replace("_", "-"), "value": value} for name, value in headers.items()
        ],
        body=base64.b64encode(body).decode(),
    )
    tab.call("Fetch.disable")


@pytest.fixture
def twenty_megapixels(tmp_path: Path) -> Path:
    path = tmp_path / "large.jpg"
    x, y = np.meshgrid(np.arange(5184), np.arange(3888))
    disc = (x - 2600) ** 2 + (y - 1900) ** 2 < 900**2
    pixels = np.where(disc[..., None], [220, 60, 40], [30, 90, 140]).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=85)
    return path


def test_a_photo_of_20_megapixels_is_dropped(person: Person, twenty_megapixels: Path) -> None:
    person.drop(twenty_megapixels)
    person.wait_until_ready()
    assert person.picture_size() == (5184, 3888)
    person.click(2600, 1900)

    body = person.bodies()[-1]
    assert "imageId" in body and "image" not in body
    x, y = body["prompts"][0]["points"][0]
    assert abs(x - 2600) < 8 and abs(y - 1900) < 8, "in pixels of the file, not of the screen"
    (annotation,) = person.annotations("large")["annotations"]
    assert annotation["segmentation"]["size"] == [3888, 5184]


def test_a_file_that_is_no_picture(person: Person, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    person.drop(tmp_path / "notes.txt")
    assert notice(person.tab) == "This browser cannot open the file as a picture."
    assert person.tab.text("#notice-detail") == "notes.txt"

    person.open_sample()
    assert person.tab.js("document.getElementById('notice').hidden") is True


def test_a_picture_that_the_service_refuses(person: Person, tmp_path: Path) -> None:
    person.tab.expected.append(FAILED)
    # Browsers show this format, the service does not take it.
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "picture.ico", sizes=[(64, 64)])
    person.drop(tmp_path / "picture.ico")

    assert notice(person.tab) == "The service cannot work with this."
    assert person.tab.text("#notice-detail") != ""


def test_every_refusal_is_told_in_words(person: Person) -> None:
    person.tab.expected.append(FAILED)
    person.open_sample()
    person.switch_preview_off()
    for status, words in {
        413: "The picture is too large for this service.",
        429: "Too many requests. Wait a moment, then try again.",
        500: "The service failed. Its log says why.",
        503: "The service is busy or restarting. Try again in a moment.",
        504: "The service took too long.",
        418: "Something went wrong.",
    }.items():
        # It is asked to wait for longer than people like to, so that the page does not.
        answer_next(person.tab, status, "a teapot", Retry_After="60")
        assert notice(person.tab) == words
        assert "no mask; try again" in person.tab.text("#objects")
        person.tab.click("#undo")


def test_a_busy_service_is_asked_again(person: Person) -> None:
    person.tab.expected.append(FAILED)
    person.open_sample()
    person.switch_preview_off()
    answer_next(person.tab, 503, "busy", Retry_After="1")
    person.wait_for_masks()
    assert person.areas()[0] > 0


def test_a_service_that_does_not_answer(person: Person) -> None:
    person.tab.expected.append(FAILED)
    person.open_sample()
    person.switch_preview_off()
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    person.tab.call("Network.emulateNetworkConditions", offline=True, **offline)
    person.tab.click(person.place(300, 300))
    assert notice(person.tab).startswith("The service does not answer.")

    person.tab.call("Network.emulateNetworkConditions", offline=False, **offline)
    person.tab.click("#undo")
    person.tab.click("#redo")
    person.wait_for_masks()
    assert person.tab.js("document.getElementById('notice').hidden") is True


def test_a_service_that_forgot_the_picture_gets_it_again(person: Person) -> None:
    person.tab.expected.append(FAILED)
    person.open_sample()
    person.switch_preview_off()
    answer_next(person.tab, 404, "No image with this imageId is held here; send it as `image`")
    person.wait_for_masks()

    bodies = person.bodies()
    assert ["image" in body for body in bodies[-2:]] == [False, True]
    person.tab.click("#new-object")
    person.click(100, 100)
    assert "imageId" in person.bodies()[-1]


def test_a_token_is_asked_for_and_forgotten_with_the_tab(
    person: Person, mini_service: Service
) -> None:
    tab = person.tab
    tab.expected.append(FAILED)
    person.open_sample()
    person.switch_preview_off()
    answer_next(tab, 401, "This service needs a token")
    tab.wait("document.getElementById('token-dialog').open")
    for letter in "secret":
        tab.key(letter)
    tab.key("Enter")
    person.wait_for_masks()

    last = [e for e in tab.events("Network.requestWillBeSent") if e["request"]["method"] == "POST"]
    assert last[-1]["request"]["headers"]["Authorization"] == "Bearer secret"
    assert tab.js("JSON.stringify({...localStorage})").count("secret") == 0
    assert tab.js("sessionStorage.getItem('ovseg.token')") == "secret"
    tab.click("#copy-curl")
    command = tab.js("navigator.clipboard.readText()")
    assert "$OVSEG_TOKEN" in command and "secret" not in command
