"""Image URLs lead to no private network: by no spelling, name, redirect or proxy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpcore
import httpx
import pytest
from ovseg_gateway.url_fetcher import FetchError

from tests.gateway.image_site import PICTURE, fetch
from tests.gateway.requests import PATH, body, locations, problems


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
