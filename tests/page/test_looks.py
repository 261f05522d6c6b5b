"""What the page looks like to everybody: names, contrast, nothing that jumps or is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ovseg.server.service import Service
from tests.page.person import Person
from tests.page.tab import DESKTOP, PHONE, Tab

ROLES = {"button", "link", "textbox", "checkbox", "img", "image", "application", "toolbar"}

CONTRASTS = """(() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    const isSeen = element.checkVisibility({ checkOpacity: true }) && !element.closest(':disabled');
    if (!text || !isSeen) continue;
    const ground = (e) => getComputedStyle(e).backgroundColor;
    let under = element;
    while (under && rgba(ground(under))[3] < 255) under = under.parentElement;
    const pair = [getComputedStyle(element).color, ground(under ?? document.body)];
    const [a, b] = pair.map(rgba).map(light).sort((x, y) => y - x);
    found.push([text.slice(0, 40), (a + 0.05) / (b + 0.05)]);
  }
  return found;
})()"""


def use(person: Person) -> None:
    """Have an object on a picture."""
    person.open_sample()
    person.click(170, 385)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_size_and_scheme(
    tab: Tab, mini_service: Service, scheme: str, size: tuple[int, int], tmp_path: Path
) -> None:
    tab.prefer(scheme)
    tab.resize(size, is_phone=size == PHONE)
    tab.open(f"{mini_service.base_url}/")
    contrasts = tab.js(CONTRASTS)
    use(Person(tab))
    contrasts += tab.js(CONTRASTS)

    assert len(contrasts) > 25
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
    assert tab.js("document.documentElement.scrollWidth") <= size[0], "nothing is cut off"
    tab.screenshot(tmp_path / "page.png")
    ground = Image.open(tmp_path / "page.png").convert("L").getpixel((4, 4))
    assert isinstance(ground, int)
    assert ground < 60 if scheme == "dark" else ground > 220


def test_the_button_turns_the_scheme_round_and_it_stays(
    tab: Tab, mini_service: Service, scheme: str
) -> None:
    tab.prefer(scheme)
    tab.open(f"{mini_service.base_url}/")
    other = "light" if scheme == "dark" else "dark"
    tab.click("#theme")
    for _ in range(2):
        assert tab.js("getComputedStyle(document.documentElement).colorScheme") == other
        tab.open(f"{mini_service.base_url}/")


def test_everything_has_a_name(person: Person) -> None:
    tab = person.tab
    use(person)
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in ROLES
    ]
    assert len(named) > 20
    assert [role for role, name in named if not name.strip()] == []
    assert tab.js("document.documentElement.lang") == "en"
    assert tab.js("document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_nothing_jumps_while_it_loads(tab: Tab, mini_service: Service, language: str) -> None:
    tab.speak(language)
    tab.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="window.jumps = []; new PerformanceObserver((list) => list.getEntries().forEach("
        "(e) => jumps.push([e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 80))])))"
        ".observe({ type: 'layout-shift', buffered: true });",
    )
    tab.open(f"{mini_service.base_url}/")
    tab.wait("document.getElementById('time-prompt').innerText !== ''")
    tab.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert tab.js("PerformanceObserver.supportedEntryTypes.includes('layout-shift')")
    jumps = tab.js("jumps")
    assert sum(value for value, _ in jumps) < 0.02, jumps
