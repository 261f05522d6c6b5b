"""The pages and what they load: complete, from here alone, and kept by browsers as it should be."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest
from ovseg_gateway.static_files import PAGE_FOLDER, static_files

from ovseg.tokens import token_hash_entry
from tests.gateway.conftest import StartGateway

PAGES = ("/", "/docs", "/redoc")
NAMESPACE = "http://www.w3.org/2000/svg"
"""A name, not an address: nobody asks for it."""


class Page(HTMLParser):
    """What a page loads, and what is written into it that a policy would have to allow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data-sample") and value and not value.startswith("#"):
                self.addresses.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.inline.append(tag)


def policy_of(answer: httpx.Response) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_all_that_it_names(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)

    assert len(page.addresses) > 3
    for address in page.addresses:
        assert http.get(f"/{address}").status_code == 200, address


@pytest.mark.parametrize("path", PAGES)
def test_a_pages_policy_allows_its_own_files_and_nothing_else(
    http: httpx.Client, path: str
) -> None:
    answer = http.get(path)

    assert Page(answer.text).inline == []
    policy = policy_of(answer)
    sources = {source for value in policy.values() for source in value.split()}
    assert sources <= {"'none'", "'self'", "data:"}  # Icons in Swagger UI's style sheet.
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"


def test_no_file_of_the_pages_names_another_host() -> None:
    ours = {
        name: file for name, file in static_files().items() if file.path.is_relative_to(PAGE_FOLDER)
    }
    assert {"index.html", "docs.html", "docs.js", "app.js"} <= ours.keys()
    for name, file in ours.items():
        if file.compressed is not None:
            text = file.content.decode().replace(NAMESPACE, "")
            assert not re.search(r"\w:?//\w", text), name


def test_every_import_of_a_script_is_served() -> None:
    for name, file in static_files().items():
        if file.path.suffix == ".js" and file.path.is_relative_to(PAGE_FOLDER):
            for imported in re.findall(r'from "\./([^"]+)"', file.content.decode()):
                assert imported in static_files(), f"{name} imports {imported}"


def test_browsers_keep_a_file_as_long_as_its_address_holds(http: httpx.Client) -> None:
    address = next(name for name in Page(http.get("/").text).addresses if name.endswith("app.js"))
    file = http.get(f"/{address}")
    again = http.get(f"/{address}", headers={"If-None-Match": file.headers["etag"]})
    of_another_version = http.get("/static/0123456789ab/app.js")

    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["content-encoding"] == "gzip"
    assert (again.status_code, again.content) == (304, b"")
    assert of_another_version.text == file.text
    assert of_another_version.headers["cache-control"] == "no-cache"
    assert http.get("/").headers["cache-control"] == "no-cache"


def test_who_cannot_inflate_gets_a_file_as_it_is(http: httpx.Client) -> None:
    plain = http.get("/static/any/rle.js", headers={"Accept-Encoding": "identity"})

    assert "content-encoding" not in plain.headers
    assert plain.content == (PAGE_FOLDER / "rle.js").read_bytes()


@pytest.mark.parametrize(
    "name", ["nothing.js", "samples/README.md", "%2e%2e/page_routes.py", "..%2fpage_routes.py", ""]
)
def test_nothing_else_is_served(http: httpx.Client, name: str) -> None:
    assert http.get(f"/static/any/{name}").status_code == 404


def test_the_pages_need_no_token_and_show_no_data(start_gateway: StartGateway) -> None:
    with start_gateway(token_hashes=token_hash_entry("alice", "secret")) as http:
        for path in PAGES:
            for address in Page(http.get(path).text).addresses:
                assert http.get(f"/{address}").status_code == 200, address
        assert http.get("/metrics").status_code == 401
        assert http.get("/static/../metrics").status_code == 401
        assert http.get("/statics").status_code == 401
