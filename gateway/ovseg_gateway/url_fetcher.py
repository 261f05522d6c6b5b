"""Fetching an image by URL, on behalf of strangers and inside our network: nothing is trusted.

The address is checked where the connection is made, after name resolution and for every redirect,
and the connection goes to the very address that was checked, so no second resolution can differ.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import httpcore
import httpx

from ovseg.settings import Settings
from ovseg_gateway.addresses import is_allowed

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    ("User-Agent", "ovseg-gateway"),
    ("Accept", "image/*"),
    ("Accept-Encoding", "identity"),
)
_MAX_CONNECTIONS = 32


class FetchError(Exception):
    """The URL gave no image; the message is for the caller."""


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name itself and connects only to addresses that `allow` accepts."""

    def __init__(self, allow: Callable[[str], bool]) -> None:
        self._allow = allow
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address that answers.

        Raises:
            FetchError: the name has no address, or none that is allowed.
            httpcore.ConnectError: no allowed address accepts connections.
        """
        allowed = [address for address in await _resolve(host, port) if self._allow(address)]
        if not allowed:
            raise FetchError(f"the address of {host!r} is not on the public internet")
        failure: Exception | None = None
        for address in allowed:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure


class ImageFetcher:
    """Fetches image files over HTTP within the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.url_timeout_s
        self._max_redirects = settings.url_max_redirects
        self._max_bytes = settings.max_image_bytes
        networks = settings.allowed_url_networks

        def allow(address: str) -> bool:
            return settings.url_allow_private or is_allowed(address, networks)

        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=CheckedBackend(allow),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def fetch(self, url: str) -> bytes:
        """Download one file.

        Raises:
            FetchError: no valid URL, a refused address, a status other than 2xx, too many
                redirects, too large, too slow, or a network failure.
        """
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._follow(_parse(url))
        except TimeoutError:
            raise FetchError(f"the URL took longer than {self._timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise FetchError(f"the URL could not be fetched ({type(error).__name__})") from error

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(self._max_redirects + 1):
            target = httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            )
            headers = [("Host", url.netloc.decode("ascii")), *_HEADERS]
            async with self._pool.stream("GET", target, headers=headers) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response)
                location = _header(response, b"location")
                if location is None:
                    raise FetchError(f"the URL answered {response.status} without a location")
                url = _parse(location, base=url)
        raise FetchError(f"the URL redirected more than {self._max_redirects} times")

    async def _read(self, response: httpcore.Response) -> bytes:
        if not 200 <= response.status < 300:
            raise FetchError(f"the URL answered with status {response.status}")
        declared = _header(response, b"content-length") or ""
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        content = bytearray()
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) > self._max_bytes:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> FetchError:
        return FetchError(f"the file at the URL is larger than {self._max_bytes} bytes")


def _parse(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError(f"not a valid URL: {error}") from None
    if url.scheme not in ("http", "https"):
        raise FetchError("only http and https URLs are fetched")
    if not url.host:
        raise FetchError("the URL names no host")
    if url.userinfo:
        raise FetchError("a URL with a user name or a password is not fetched")
    return url


def _header(response: httpcore.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return str(value, "latin-1")
    return None


async def _resolve(host: str, port: int) -> list[str]:
    """Numeric addresses of a host, in the resolver's order.

    Raises:
        FetchError: it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError(f"the host {host!r} cannot be resolved") from None
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
