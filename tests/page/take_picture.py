"""Makes docs/images/page.png: `.venv/bin/python -m tests.page.take_picture` (needs Chromium)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from ovseg.server.service import running_service
from tests.page.chromium import chromium_path, running_browser
from tests.page.person import Person
from tests.page.tab import Tab

TARGET = Path(__file__).parents[2] / "docs" / "images" / "page.png"
SIZE = (1280, 800)


def take(base_url: str) -> None:
    """Have somebody mark three objects on the astronaut, and keep what they see."""
    path = chromium_path()
    if path is None:
        raise SystemExit("error: Chromium is needed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder, running_browser(path) as browser:
        tab = Tab(browser, Path(folder))
        tab.resize(SIZE)
        tab.prefer("light")
        tab.open(f"{base_url}/")
        person = Person(tab)
        person.open_sample()
        person.switch_preview_off()
        person.drag(275, 345, 510, 511)
        person.click(300, 370, "right")
        tab.click("#new-object")
        person.drag(150, 12, 300, 150)
        tab.click("#new-object")
        person.click(170, 385)
        tab.click("#hover")  # On again, as people find it.
        tab.screenshot(TARGET)
    picture = Image.open(TARGET).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(TARGET, optimize=True)


if __name__ == "__main__":
    with running_service() as service:
        take(service.base_url)
