"""A person uses the page, in a real browser, with the real service behind it."""

from __future__ import annotations

import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from ovseg.server.service import Service
from tests.page.person import Person
from tests.page.tab import PHONE, Tab

PATCH = (170, 385)
"""On the round patch of the astronaut's suit."""
HELMET = (275, 345, 510, 511)
PATH = "/open-vocabulary-segmentation"


def mask_at(person: Person, k: int = 0) -> np.ndarray:
    annotation = person.annotations("astronaut")["annotations"][k]
    pixels: np.ndarray = coco.decode(annotation["segmentation"])
    return pixels


def test_a_click_shows_three_candidates_and_the_best_is_chosen(person: Person) -> None:
    person.open_sample()
    person.click(*PATCH)

    scores = [
        float(text)
        for text in person.tab.js(
            "[...document.querySelectorAll('.candidates button')].map(b => b.innerText)"
        )
    ]
    assert len(scores) == 3
    chosen = person.tab.js(
        "[...document.querySelectorAll('.candidates button')]"
        ".findIndex(b => b.ariaPressed === 'true')"
    )
    assert chosen == int(np.argmax(scores))
    before = mask_at(person)
    assert before[PATCH[1], PATCH[0]] == 1

    other = (chosen + 1) % 3
    person.tab.key(str(other + 1))
    assert (mask_at(person) != before).any()
    person.tab.key("z", "Control")
    assert (mask_at(person) == before).all()


def test_boxes_background_points_undo_and_redo(person: Person) -> None:
    tab = person.tab
    person.open_sample()
    person.drag(*HELMET)
    person.switch_preview_off()
    (helmet,) = person.areas()
    person.click(300, 370, "right")
    (without,) = person.areas()
    assert without != helmet
    person.tab.key("n")
    person.click(*PATCH)
    assert len(person.areas()) == 2

    requests = len(person.bodies())
    tab.click("#undo")
    assert person.areas() == [without]
    tab.click("#undo")
    assert person.areas() == [helmet]
    tab.key("y", "Control")
    assert person.areas() == [without]
    tab.click("#undo")
    tab.click("#undo")
    assert person.areas() == []
    assert tab.js("document.getElementById('undo').disabled") is True
    assert len(person.bodies()) == requests, "undo asks for what is known"


def test_the_picture_is_sent_and_encoded_once(person: Person) -> None:
    person.open_sample("coffee")
    person.switch_preview_off()
    person.click(310, 210)
    person.click(100, 100, "left", "Alt")
    person.drag(150, 50, 450, 350)

    first, *others = person.bodies()
    assert "image" in first and "imageId" not in first
    assert len(others) == 3
    for body in others:
        assert "image" not in body and len(body["imageId"]) == 64
    assert others[0]["multimask"] is True
    assert others[1]["prompts"][0]["labels"] == [1, 0]
    assert others[1]["multimask"] is False
    assert others[2]["prompts"][0].keys() == {"box"}
    # Another test may have had the same picture encoded.
    assert person.tab.text("#time-encode-note") in ("once", "known already")
    assert person.tab.text("#time-prompt-note") == "4 answered"
    assert person.tab.js("document.querySelectorAll('.bar').length") == 4


def test_the_masks_are_the_services_and_the_box_is_where_it_was_drawn(
    person: Person, mini_service: Service
) -> None:
    person.open_sample()
    person.drag(*HELMET)
    body = person.bodies()[-1]
    drawn = body["prompts"][0]["box"]
    assert np.abs(np.subtract(drawn, HELMET)).max() <= 2

    answer = httpx.post(mini_service.base_url + PATH, json=body, timeout=60, trust_env=False).json()
    document = person.annotations("astronaut")
    (annotation,) = document["annotations"]
    rle = {"size": [512, 512], "counts": annotation["segmentation"]["counts"]}
    assert rle["counts"] == answer["result"]["masks"][0]["counts"]
    assert annotation["area"] == coco.area(rle)
    assert annotation["bbox"] == coco.toBbox(rle).tolist()
    assert document["images"] == [
        {"id": 1, "file_name": "astronaut.jpg", "width": 512, "height": 512}
    ]


def test_downloads_are_the_mask_and_what_it_shows(person: Person) -> None:
    tab = person.tab
    person.open_sample()
    person.click(*PATCH)
    mask = mask_at(person)
    x, y, width, height = coco.toBbox(coco.encode(np.asfortranarray(mask))).astype(int)

    tab.click("#save-mask")
    saved = np.asarray(Image.open(io.BytesIO(tab.downloaded("astronaut_mask.png"))).convert("L"))
    assert (saved == 255 * mask).all()

    tab.click("#save-cutout")
    cut = np.asarray(Image.open(io.BytesIO(tab.downloaded("astronaut_cutout.png"))))
    assert cut.shape == (height, width, 4)
    assert (cut[..., 3] == 255 * mask[y : y + height, x : x + width]).all()

    tab.click("#save-overlay")
    overlay = Image.open(io.BytesIO(tab.downloaded("astronaut_masks.png")))
    assert overlay.size == (512, 512)


def test_copied_requests_give_the_same_mask(person: Person, mini_service: Service) -> None:
    tab = person.tab
    person.open_sample()
    person.click(*PATCH)
    tab.click("#copy-python")
    tab.wait("document.getElementById('copy-python').innerText === 'Copied'")
    script = tab.js("navigator.clipboard.readText()")
    tab.click("#copy-curl")
    tab.wait("document.getElementById('copy-curl').innerText === 'Copied'")
    command = tab.js("navigator.clipboard.readText()")

    sample = tab.js("document.querySelector('button[data-sample*=astronaut]').dataset.sample")
    photo = httpx.get(f"{mini_service.base_url}/{sample}", trust_env=False).content
    (tab.downloads / "astronaut.jpg").write_bytes(photo)
    found: dict[str, np.ndarray] = {}
    exec(script.replace('"astronaut.jpg"', repr(str(tab.downloads / "astronaut.jpg"))), found)
    assert (found["pixels"] == mask_at(person)).all()

    body = command.split("printf '%s' '")[1].split("') |")[0]
    request = json.loads('{"image":"' + body)
    assert request["prompts"] == person.bodies()[-1]["prompts"]
    assert f"{mini_service.base_url}{PATH}" in command


def test_the_preview_is_what_a_click_gives(person: Person) -> None:
    person.open_sample()
    before = len(person.bodies())
    person.tab.move(*person.place(*PATCH))
    person.tab.wait(f"document.querySelectorAll('.bar').length === {before + 1}")
    assert person.areas() == []

    person.click(*PATCH)
    assert len(person.bodies()) == before + 1, "the click asks for what the preview knows"
    assert person.areas()[0] > 0


def test_by_keyboard_alone(person: Person) -> None:
    tab = person.tab
    for _ in range(20):
        tab.key("Tab")
        if tab.js("document.activeElement.dataset.sample ?? ''").endswith("astronaut.jpg"):
            break
    tab.key("Enter")
    person.wait_until_ready()
    for _ in range(30):
        tab.key("Tab")
        if tab.js("document.activeElement.id") == "canvas":
            break
    tab.key("p")  # The preview is of no interest here.
    for key in ("ArrowLeft", "ArrowDown"):
        tab.key(key, "Shift")
        tab.key(key, "Shift")
    tab.key("Enter")
    person.wait_for_masks()
    x, y = person.bodies()[-1]["prompts"][0]["points"][0]
    assert x < 256 < y
    tab.key("ArrowRight")
    tab.key("x")
    person.wait_for_masks()
    assert person.bodies()[-1]["prompts"][0]["labels"] == [1, 0]

    tab.key("n")
    tab.key("b")
    for key in ("ArrowRight", "ArrowUp"):
        tab.key(key, "Shift")
        tab.key(key, "Shift")
    tab.key("b")
    person.wait_for_masks()
    assert len(person.areas()) == 2
    assert person.bodies()[-1]["prompts"][0]["box"][0] > x
    tab.key("Delete")
    assert len(person.areas()) == 1


def test_with_a_finger_on_a_phone(tab: Tab, mini_service: Service) -> None:
    tab.resize(PHONE, is_phone=True)
    tab.open(f"{mini_service.base_url}/")
    person = Person(tab)
    tab.tap(*tab.place('button[data-sample*="astronaut"]'))
    person.wait_until_ready()
    tab.tap(*person.place(*PATCH))
    person.wait_for_masks()
    assert len(person.areas()) == 1
    tab.tap(*tab.place('[data-mode="remove"]'))
    tab.tap(*person.place(250, 100))
    person.wait_for_masks()
    assert person.bodies()[-1]["prompts"][0]["labels"] == [1, 0]


def test_zoom_keeps_what_is_under_the_pointer(person: Person) -> None:
    person.open_sample()
    place = person.place(*PATCH)
    person.tab.wheel(*place, -400)
    person.tab.click(place)
    person.wait_for_masks()

    x, y = person.bodies()[-1]["prompts"][0]["points"][0]
    assert abs(x - PATCH[0]) <= 1 and abs(y - PATCH[1]) <= 1


@pytest.mark.parametrize("chosen", ["zh-CN", "fr"])
def test_it_speaks_the_readers_language(tab: Tab, mini_service: Service, chosen: str) -> None:
    tab.speak(chosen)
    tab.open(f"{mini_service.base_url}/")
    title = "把图片拖到这里" if chosen == "zh-CN" else "Drop a picture here"
    tab.wait(f"document.querySelector('.drop h2').innerText === '{title}'")

    tab.click("#language")
    other = "Drop a picture here" if chosen == "zh-CN" else "把图片拖到这里"
    tab.wait(f"document.querySelector('.drop h2').innerText === '{other}'")
    tab.open(f"{mini_service.base_url}/")
    tab.wait(f"document.querySelector('.drop h2').innerText === '{other}'")
