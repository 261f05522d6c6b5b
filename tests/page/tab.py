"""One tab: what a person does in it, and what can be seen there."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.page.chromium import Browser, DevToolsError, wait_until

DESKTOP = (1280, 800)
PHONE = (390, 844)

_MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}


class Tab:
    """A tab in a browser context (cookies, storage) of its own."""

    def __init__(self, browser: Browser, downloads: Path) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self._first_event = len(browser.events)
        self.downloads = downloads
        self.expected = ["the server responded with a status of 503"]
        """Parts of complaints that a test provokes, and of those that a busy machine does."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        browser.call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            browserContextId=self._context,
            downloadPath=str(downloads),
        )
        browser.call(
            "Browser.grantPermissions",
            permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
            browserContextId=self._context,
        )
        self.resize(DESKTOP)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol to this tab."""
        return self._browser.call(method, self._session, **params)

    def close(self) -> None:
        """Close it and forget what it stored."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What the browser told of this tab, such as every `Network.requestWillBeSent`."""
        return [
            event["params"]
            for event in self._browser.events[self._first_event :]
            if event["method"] == method and event.get("sessionId") == self._session
        ]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, violations of a policy, exceptions nobody caught."""
        said = [
            " ".join(str(part.get("value", part.get("description"))) for part in event["args"])
            for event in self.events("Runtime.consoleAPICalled")
            if event["type"] in ("error", "warning", "assert")
        ]
        thrown = [
            str(event["exceptionDetails"]) for event in self.events("Runtime.exceptionThrown")
        ]
        logged = [
            f"{event['entry']['text']} {event['entry'].get('url', '')}"
            for event in self.events("Log.entryAdded")
            if event["entry"]["level"] in ("error", "warning")
        ]
        return [*said, *thrown, *logged]

    def resize(self, size: tuple[int, int], *, is_phone: bool = False) -> None:
        """Give the page that many CSS pixels; a phone has a touch screen and two dots a pixel."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=2 if is_phone else 1,
            mobile=is_phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=is_phone)

    def prefer(self, scheme: str) -> None:
        """Make the system's scheme "light" or "dark"."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def speak(self, language: str) -> None:
        """Make the browser's language that one."""
        agent = self._browser.call("Browser.getVersion")["userAgent"]
        self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    def open(self, url: str) -> None:
        """Go to a page and wait until all that it names is loaded."""
        self.call("Page.navigate", url=url)
        wait_until(
            lambda: self.js(
                "location.href !== 'about:blank' && document.readyState === 'complete'"
            ),
            f"loading {url}",
        )

    def js(self, expression: str) -> Any:
        """Value of an expression in the page; promises are awaited.

        Raises:
            DevToolsError: it threw.
        """
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise DevToolsError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element reads, as it is displayed."""
        return str(self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait(self, expression: str) -> Any:
        """Wait until an expression in the page is truthy."""
        return wait_until(lambda: self.js(expression), expression)

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element."""
        x, y = self.js(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        return x, y

    def click(
        self, place: str | tuple[float, float], button: str = "left", modifiers: Sequence[str] = ()
    ) -> None:
        """Click with the mouse on an element's middle, or at a place."""
        x, y = self.place(place) if isinstance(place, str) else place
        self._mouse("mouseMoved", x, y, "none", modifiers)
        self._mouse("mousePressed", x, y, button, modifiers)
        self._mouse("mouseReleased", x, y, button, modifiers)

    def move(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self._mouse("mouseMoved", x, y, "none", ())

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        self._mouse("mouseMoved", *start, "none", ())
        self._mouse("mousePressed", *start, "left", ())
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        for x, y in (middle, end):
            self._mouse("mouseMoved", x, y, "left", (), buttons=1)
        self._mouse("mouseReleased", *end, "left", ())

    def wheel(self, x: float, y: float, delta: float) -> None:
        """Turn the mouse's wheel."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    def tap(self, x: float, y: float) -> None:
        """Tap with a finger."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str, *modifiers: str) -> None:
        """Press a key, such as "n", "Enter" or "ArrowLeft"."""
        bits = sum(_MODIFIERS[name] for name in modifiers)
        code = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}.get(key, 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not bits & 3 else "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                modifiers=bits,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def drop(self, path: Path, selector: str = "body") -> None:
        """Drop a file on an element."""
        x, y = self.place(selector)
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def downloaded(self, name: str) -> bytes:
        """Wait for a file that the page saves."""
        path = self.downloads / name
        size = -1
        while not path.exists() or path.stat().st_size != size:
            size = path.stat().st_size if path.exists() else -1
            wait_until(path.exists, f"download of {name}")
            time.sleep(0.2)
        return path.read_bytes()

    def screenshot(self, path: Path) -> None:
        """Write a PNG of what is seen."""
        answer = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def _mouse(
        self,
        kind: str,
        x: float,
        y: float,
        button: str,
        modifiers: Sequence[str],
        buttons: int | None = None,
    ) -> None:
        pressed = {"left": 1, "right": 2, "middle": 4}.get(button, 0)
        if kind == "mouseReleased":
            pressed = 0
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=pressed if buttons is None else buttons,
            clickCount=0 if kind == "mouseMoved" else 1,
            modifiers=sum(_MODIFIERS[name] for name in modifiers),
        )
