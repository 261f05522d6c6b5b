"""What the page leaves for later, so that a mask follows its click as soon as it can."""

from __future__ import annotations

import json

import pytest

from tests.page.person import Person

PATCH = (170, 385)
"""On the round patch of the astronaut's suit."""

WATCH = """(() => {
  window.seen = [];
  const ask = window.fetch;
  window.fetch = (...values) => {
    seen.push(`asked, objects listed: ${document.querySelectorAll('.object').length}`);
    return ask(...values);
  };
  const canvas = document.getElementById('canvas');
  const prototype = CanvasRenderingContext2D.prototype;
  for (const name of ['fill', 'drawImage']) {
    const draw = prototype[name];
    prototype[name] = function (what, ...rest) {
      if (what instanceof Path2D && this.canvas === canvas) seen.push('mask on the picture');
      if (what instanceof ImageBitmap) seen.push(this.canvas.closest('.stage') ? 'photo' : 'thumb');
      return draw.call(this, what, ...rest);
    };
  }
  new MutationObserver(() => {
    const isTold = /%/.test(document.querySelector('.facts')?.innerText);
    if (isTold && !seen.includes('words')) seen.push('words');
  }).observe(document.getElementById('objects'), { subtree: true, childList: true });
})()"""

OPACITIES = """((x, y) => {
  const { width, height } = document.getElementById('canvas');
  const { left, top } = document.getElementById('canvas').getBoundingClientRect();
  const copy = Object.assign(document.createElement('canvas'), { width, height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(document.getElementById('canvas'), 0, 0);
  context.clearRect(x - left - 12, y - top - 12, 24, 24); // The mark of the click.
  const { data } = context.getImageData(0, 0, width, height);
  const counts = { filled: 0, line: 0 };
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] > 200) counts.line++;
    else if (Math.abs(data[at] - 0.45 * 255) < 2) counts.filled++;
  }
  return counts;
})"""


def test_a_click_asks_then_shows_the_mask_then_tells_of_it(person: Person) -> None:
    person.open_sample()
    person.switch_preview_off()
    person.tab.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    person.tab.js(WATCH)
    person.click(*PATCH)

    seen = person.tab.js("seen")
    assert seen[0] == "asked, objects listed: 0"
    assert "photo" not in seen, "the photo has not changed"
    assert 0 < seen.index("mask on the picture") < seen.index("words")


def test_a_click_sends_and_asks_for_no_more_than_it_needs(person: Person) -> None:
    person.open_sample()
    person.switch_preview_off()
    person.click(*PATCH)

    body = person.bodies()[-1]
    assert body.keys() == {"imageId", "prompts", "multimask", "visualize"}
    assert body["visualize"] is False
    assert len(json.dumps(body)) < 300


def test_what_the_preview_asks_for_is_not_asked_for_again(person: Person) -> None:
    person.open_sample()
    before = len(person.bodies())
    # The pointer arrives, presses and is up again before any answer.
    person.click(*PATCH)
    assert len(person.bodies()) == before + 1
    cancelled = [e for e in person.tab.events("Network.loadingFailed") if e["canceled"]]
    assert cancelled == []


def test_what_the_preview_has_found_is_shown_then_pictured_small_and_told(person: Person) -> None:
    tab = person.tab
    person.open_sample()
    tab.js(WATCH)
    tab.move(*person.place(*PATCH))
    tab.wait("seen.includes('mask on the picture')")
    tab.js("seen.length = 0")
    person.click(*PATCH)
    tab.wait("seen.filter((what) => what === 'thumb').length === 3")

    seen = tab.js("seen")
    assert 0 <= seen.index("mask on the picture") < seen.index("thumb")
    assert not any(what.startswith("asked") for what in seen)
    assert "mask found" in tab.js("document.getElementById('announce').textContent")


@pytest.mark.parametrize("then", ["as it is", "zoomed", "with a second object"])
def test_every_mask_gets_its_line(person: Person, then: str) -> None:
    tab = person.tab
    person.open_sample()
    person.switch_preview_off()
    place = person.place(*PATCH)
    person.click(*PATCH)
    if then == "zoomed":
        tab.click("#zoom-in")
        tab.key("n")  # Then it has no mark.
    if then == "with a second object":
        tab.key("n")
        person.click(450, 60)
        tab.key("n")
    opacities = f"{OPACITIES}({place[0]}, {place[1]})"
    tab.wait(f"{opacities}.line > 300")
    assert tab.js(opacities)["filled"] > 1000
