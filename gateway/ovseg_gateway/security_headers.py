"""Headers that tell browsers to do with our answers only what they are made for."""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    # For what is no page: nothing is to be run, loaded or framed.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_INLINE = re.compile(r"<(?P<kind>script|style)>(?P<content>.*?)</(?P=kind)>", re.DOTALL)


class SecurityHeadersMiddleware:
    """Adds the headers to every answer; a page brings a policy of its own (`page_response`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def page_response(html: str, **sources: str) -> HTMLResponse:
    """A page that may run its own inline scripts and styles, and load what `sources` names.

    Args:
        html: the page; of its inline `<script>` and `<style>` elements the hashes go into its
            Content-Security-Policy, so that whatever is smuggled into it does not run.
        sources: more for a directive, e.g. `connect_src="'self'"`.
    """
    directives = {"default-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'"}
    directives["form-action"] = "'none'"
    for name, value in sources.items():
        directives[name.replace("_", "-")] = value
    for element in _INLINE.finditer(html):
        name = f"{element['kind']}-src"
        if "'unsafe-inline'" in directives.get(name, ""):
            continue  # A hash would switch that off.
        digest = hashlib.sha256(element["content"].encode()).digest()
        source = f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
        directives[name] = f"{directives.get(name, '')} {source}".strip()
    policy = "; ".join(f"{name} {value}" for name, value in directives.items())
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})
