"""What people do on the page, in places of the picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.page.tab import Tab

Place = tuple[float, float]


class Person:
    """Somebody who has the page open in a tab."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    def open_sample(self, name: str = "astronaut") -> None:
        """Choose one of the bundled pictures, and wait until it is encoded."""
        self.tab.click(f'button[data-sample*="{name}"]')
        self.wait_until_ready()
        self.tab.js("document.getElementById('announce').textContent = ''")

    def switch_preview_off(self) -> None:
        """Then the page asks only for what is clicked."""
        self.tab.click("#hover")

    def drop(self, path: Path) -> None:
        """Drop a file on the page."""
        self.tab.drop(path)

    def wait_until_ready(self) -> None:
        """Wait until the page says that the picture is ready."""
        self.tab.wait("document.getElementById('announce').textContent === 'The picture is ready.'")

    def place(self, x: float, y: float) -> Place:
        """Where a place of the picture is on the screen, while all of the picture is shown.

        Worked out anew, not asked of the page: the picture lies in the middle of the canvas, above
        the toolbar, with a margin.
        """
        left, top, width, height = self.tab.js(
            "(() => { const r = document.getElementById('canvas').getBoundingClientRect();"
            "return [r.x, r.y, r.width, r.height]; })()"
        )
        size = self.picture_size()
        scale = min((width - 48) / size[0], (height - 72 - 48) / size[1])
        return (
            left + (width - size[0] * scale) / 2 + (x + 0.5) * scale,
            top + (height - 72 - size[1] * scale) / 2 + (y + 0.5) * scale,
        )

    def picture_size(self) -> tuple[int, int]:
        """Width and height of the picture, as the page says to those who cannot see it."""
        width, height = json.loads(self.tab.js("document.getElementById('canvas').dataset.size"))
        return width, height

    def click(self, x: float, y: float, button: str = "left", *modifiers: str) -> None:
        """Click on a place of the picture and wait for the mask."""
        self.tab.click(self.place(x, y), button, modifiers)
        self.wait_for_masks()

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a box and wait for the mask."""
        self.tab.drag(self.place(x0, y0), self.place(x1, y1))
        self.wait_for_masks()

    def wait_for_masks(self) -> None:
        """Wait until every object has its mask."""
        self.tab.wait("[...document.querySelectorAll('.facts')].every(f => /%/.test(f.innerText))")

    def areas(self) -> list[float]:
        """How much of the picture each object covers, in percent, as the list says."""
        texts: list[str] = self.tab.js(
            "[...document.querySelectorAll('.facts')].map(f => f.innerText)"
        )
        return [float(text.split("covers ")[1].split(" ")[0]) for text in texts]

    def annotations(self, name: str) -> dict[str, Any]:
        """Download the COCO JSON file of a picture that is called so."""
        (self.tab.downloads / f"{name}_coco.json").unlink(missing_ok=True)
        self.tab.click("#save-coco")
        annotations: dict[str, Any] = json.loads(self.tab.downloaded(f"{name}_coco.json"))
        return annotations

    def bodies(self) -> list[dict[str, Any]]:
        """Every request to the REST API."""
        return [json.loads(self._body(request_id)) for request_id in self._requests()]

    def _body(self, request_id: str) -> str:
        answer = self.tab.call("Network.getRequestPostData", requestId=request_id)
        return str(answer["postData"])

    def _requests(self) -> Sequence[str]:
        return [
            event["requestId"]
            for event in self.tab.events("Network.requestWillBeSent")
            if event["request"]["method"] == "POST"
        ]
