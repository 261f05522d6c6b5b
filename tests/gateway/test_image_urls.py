"""Images by URL, fetched from a real server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpcore
import httpx
import pytest
from ovseg_gateway.url_fetcher import FetchError, ImageFetcher

from ovseg.settings import Settings
from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body, locations, problems
from tests.local_server import LocalServer

PICTURE = b"picture" * 1000


class Site(BaseHTTPRequestHandler):
    """Answers each path in a way of its own, until it is released."""

    released: threading.Event

    def do_GET(self) -> None:
        kind, _, argument = self.path.partition("?")[0].lstrip("/").partition("/")
        getattr(self, f"serve_{kind}")(argument)

    def serve_picture(self, _: str) -> None:
        self.answer(200, {"Content-Length": str(len(PICTURE))}, PICTURE)

    def serve_status(self, status: str) -> None:
        self.answer(int(status), {}, b"no picture")

    def serve_hops(self, hops: str) -> None:
        further = f"/hops/{int(hops) - 1}" if int(hops) > 1 else "/picture"
        self.answer(302, {"Location": further}, b"")

    def serve_to(self, location: str) -> None:
        self.answer(307, {"Location": location}, b"")

    def serve_nowhere(self, _: str) -> None:
        self.answer(302, {}, b"")

    def serve_endless(self, _: str) -> None:
        self.answer(200, {}, b"")
        try:
            while not self.released.is_set():
                self.wfile.write(bytes(10_000))
        except OSError:
            pass  # the gateway hung up, as it should

    def serve_slow(self, _: str) -> None:
        self.answer(200, {}, b"x")
        try:
            while not self.released.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            pass

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    released = threading.Event()
    handler = type("OneSite", (Site,), {"released": released})
    with LocalServer(handler) as server:
        yield server.url
        released.set()


def fetch(url: str, **settings: Any) -> bytes:
    async def run() -> bytes:
        fetcher = ImageFetcher(Settings(**{"url_allow_private": True, **settings}))
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.aclose()

    return asyncio.run(run())


def test_the_file_at_a_url_goes_to_triton(
    start_gateway: StartGateway, triton: FakeTriton, site: str
) -> None:
    with start_gateway(url_allow_private=True) as http:
        response = http.post(PATH, json=body(image=f"{site}/picture"))

    assert response.status_code == 200
    assert triton.last.tensors["image"].tolist() == [PICTURE]
    assert "fetch;dur=" in response.headers["server-timing"]


def test_a_private_address_is_refused_by_default(http: httpx.Client, site: str) -> None:
    response = http.post(PATH, json=body(image=f"{site}/picture", logId="mine"))

    assert locations(response) == ["body.image"]
    assert "not on the public internet" in problems(response)[0]["msg"]
    assert response.json()["logId"] == "mine"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "①②⑦.⓪.⓪.①",
        "user:secret@127.0.0.1",
        "169.254.169.254",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0x7F.0x0.0x0.0x1",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1.",
        "127。0。0。1",
        "ⓛocalhost",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "example.com@127.0.0.1",
        "127.0.0.1#@example.com",
        "127.0.0.1\\@example.com",
        "example.com%40127.0.0.1",
    ],
)
def test_no_spelling_of_a_private_address_is_fetched(host: str) -> None:
    with pytest.raises(FetchError) as refusal:
        fetch(f"http://{host}:9/picture", url_allow_private=False)

    assert "could not be fetched" not in str(refusal.value)  # refused, not tried
    assert "secret" not in str(refusal.value)


def test_a_name_that_resolves_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["8.8.8.8", "127.0.0.1"])
    asked = []

    async def rebinding(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", rebinding)
    connected: list[str] = []
    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", _remember(connected))

    with pytest.raises(FetchError):
        fetch("http://rebinding.example/picture", url_allow_private=False)
    assert (asked, connected) == (["rebinding.example"], ["8.8.8.8"])

    with pytest.raises(FetchError, match="not on the public internet"):
        fetch("http://rebinding.example/picture", url_allow_private=False)
    assert connected == ["8.8.8.8"]


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Each look-up gets the next of the answers; returns the addresses that are connected to."""
    remaining = iter(answers)

    async def resolve(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        addresses = next(remaining)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (to, port)) for to in addresses]

    connected: list[str] = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", _remember(connected))
    return connected


def test_private_addresses_among_public_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = _resolving(monkeypatch, ["127.0.0.1", "8.8.8.8", "10.0.0.1", "1.1.1.1"])

    with pytest.raises(FetchError, match="ConnectError"):
        fetch("http://mixed.example/picture", url_allow_private=False)
    assert connected == ["8.8.8.8", "1.1.1.1"]


def test_a_name_that_turns_private_between_two_redirects_is_refused(
    monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    port = int(site.rpartition(":")[2])
    answers = iter(["127.0.0.1", "127.0.0.2"])

    async def resolve(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    with pytest.raises(FetchError, match=r"'rebinding\.example' is not on the public internet"):
        fetch(
            f"http://rebinding.example:{port}/hops/1",
            url_allow_private=False,
            url_allow_networks="127.0.0.1/32",
        )
    assert next(answers, None) is None  # both were asked for


def test_a_redirect_to_a_private_address_is_refused(site: str) -> None:
    with pytest.raises(FetchError, match=r"'127\.0\.0\.2' is not on the public internet"):
        fetch(
            f"{site}/to/http://127.0.0.2:9/",
            url_allow_private=False,
            url_allow_networks="127.0.0.1/32",
        )


def test_a_listed_network_is_fetched_from(site: str) -> None:
    listed = {"url_allow_private": False, "url_allow_networks": "10.0.0.0/8, 127.0.0.0/8"}
    assert fetch(f"{site}/picture", **listed) == PICTURE
    with pytest.raises(FetchError, match="not on the public internet"):
        fetch("http://[::1]:9/", **listed)


def _remember(connected: list[str]) -> Callable[..., Awaitable[Any]]:
    async def connect_tcp(self: Any, host: str, *_: Any, **__: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("no network in this test")

    return connect_tcp


def test_redirects_are_followed_up_to_the_limit(site: str) -> None:
    assert fetch(f"{site}/hops/3", url_max_redirects=3) == PICTURE
    with pytest.raises(FetchError, match="redirected more than 3 times"):
        fetch(f"{site}/hops/4", url_max_redirects=3)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("gopher://127.0.0.1/", "only http and https"),
        ("ftp://example.com/a.png", "only http and https"),
        ("data:image/png;base64,QUJD", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("http://me:secret@example.com/", "a user name or a password"),
        ("http://x:99999/", "valid URL|resolved"),
        ("http://nowhere.invalid/", "cannot be resolved"),
    ],
)
def test_a_redirect_to_nowhere_good_is_refused(site: str, location: str, reason: str) -> None:
    with pytest.raises(FetchError, match=reason):
        fetch(f"{site}/to/{location}")


def test_a_redirect_without_a_location_is_refused(site: str) -> None:
    with pytest.raises(FetchError, match="302 without a location"):
        fetch(f"{site}/nowhere")


@pytest.mark.parametrize("status", [201, 204])
def test_any_success_counts(site: str, status: int) -> None:
    fetch(f"{site}/status/{status}")


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 500, 503])
def test_a_failure_of_the_site_is_reported_with_its_status(site: str, status: int) -> None:
    with pytest.raises(FetchError, match=f"status {status}"):
        fetch(f"{site}/status/{status}")


@pytest.mark.parametrize("path", ["picture", "endless"])
def test_a_large_file_is_not_read_to_its_end(site: str, path: str) -> None:
    with pytest.raises(FetchError, match="larger than 6999 bytes"):
        fetch(f"{site}/{path}", max_image_bytes=6999)


def test_a_file_that_drips_in_runs_out_of_time(site: str) -> None:
    with pytest.raises(FetchError, match=r"longer than 0\.3 s"):
        fetch(f"{site}/slow", url_timeout_s=0.3)


def test_a_closed_port_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(FetchError, match="ConnectError"):
        fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "url", ["http://", "http:///a", "https://?", "http://[::1", "http://a b/", "http://x:99999/"]
)
def test_text_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(FetchError):
        fetch(url)


@pytest.mark.parametrize("credentials", ["me", "me:secret", ":secret"])
def test_credentials_in_a_url_are_refused_and_not_repeated(site: str, credentials: str) -> None:
    with pytest.raises(FetchError, match="a user name or a password") as refusal:
        fetch(site.replace("://", f"://{credentials}@"))
    assert "secret" not in str(refusal.value)


def test_a_refused_answer_of_a_site_is_a_422_that_says_so(
    start_gateway: StartGateway, site: str
) -> None:
    with start_gateway(url_allow_networks="127.0.0.0/8") as http:
        response = http.post(PATH, json=body(image=f"{site}/status/404"))

    assert locations(response) == ["body.image"]
    assert problems(response)[0]["msg"] == "the URL answered with status 404"


def test_the_log_does_not_hold_what_a_url_may_keep_secret(
    start_gateway: StartGateway, site: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "ovseg_gateway")
    with start_gateway(url_allow_private=True, log_level="debug") as http:
        for path in ("picture", "status/404", "to/gopher://x"):
            http.post(PATH, json=body(image=f"{site}/{path}?signature=s3cret"))

    written = [record for record in caplog.records if record.name.startswith("ovseg")]
    assert written
    assert not any("s3cret" in record.getMessage() + str(record.__dict__) for record in written)


def test_a_proxy_of_the_environment_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    assert fetch(f"{site}/picture") == PICTURE


def test_a_proxy_setting_cannot_bypass_the_check(
    monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, site)
    with pytest.raises(FetchError, match="not on the public internet"):
        fetch("http://127.0.0.1:9/picture", url_allow_private=False)
