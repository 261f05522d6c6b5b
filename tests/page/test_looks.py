"""What the page looks like to everybody: names, contrast, nothing that jumps or is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ovseg.server.service import Service
from tests.page.person import Person
from tests.page.slow_network import slow_network
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

CUTS = [
    '<nav class="actions"',
    '<button type="button" class="quiet" id="language"',
    "<main",
    "<h2 data-t",
    '<button type="button" class="primary"',
    '<div class="samples"',
    "<li><button",
    'aria-label="A cup of coffee"',
    '<section class="timing"',
    "<aside",
    "<dialog",
]
"""Where the page's HTML stops for a while: as it comes from afar, or to a busy machine."""

BLOCKING = ' blocking="render"'

PAINTED = "performance.getEntriesByName('first-contentful-paint')"

WATCH_JUMPS = """
window.jumps = [];
new PerformanceObserver((list) => list.getEntries().forEach((e) => jumps.push(
  [e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 80))],
))).observe({ type: 'layout-shift', buffered: true });
"""

SHOWN = """new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)));
  setTimeout(done, 150); // No frames come while rendering is blocked.
})"""


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


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("blocks", [True, False], ids=["blocking", "not blocking"])
def test_nothing_jumps_while_it_loads(
    tab: Tab, mini_service: Service, blocks: bool, size: tuple[int, int]
) -> None:
    """In the worst order of arrival, also in browsers that do not know `blocking`."""
    tab.speak("zh-CN")
    tab.resize(size, is_phone=size == PHONE)
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH_JUMPS)
    with slow_network(mini_service.base_url, CUTS, "" if blocks else BLOCKING) as network:
        tab.call("Page.navigate", url=network.url)
        tab.js(SHOWN)
        for _ in CUTS:
            length = tab.js("document.documentElement.outerHTML.length")
            network.piece.release()
            tab.wait(f"document.documentElement.outerHTML.length > {length}")
            tab.js(SHOWN)
        painted_early = tab.js(f"{PAINTED}.length")
        network.files.set()
        tab.wait(f"document.readyState === 'complete' && {PAINTED}.length")
        tab.js(SHOWN)

    assert painted_early == (0 if blocks else 1), "else the delays prove nothing"
    assert tab.js("PerformanceObserver.supportedEntryTypes.includes('layout-shift')")
    jumps = tab.js("jumps")
    # Without `blocking`, the header's buttons and the Chinese texts still find their places.
    assert sum(value for value, _ in jumps) <= (0 if blocks else 0.015), jumps
