"""The gateway on a real socket, with a fake Triton behind it."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from ovseg_gateway import create_app
from ovseg_gateway.http_protocol import http_options

from ovseg.settings import Settings
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.image_site import Site
from tests.local_server import LocalServer

StartGateway = Callable[..., AbstractContextManager[httpx.Client]]


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Run an ASGI application on a free port; yields its base URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        options = http_options(Settings())
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert thread.is_alive() and time.monotonic() < deadline
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def _gateway(triton: FakeTriton, **settings: Any) -> Iterator[httpx.Client]:
    app = create_app(Settings(**settings), client=triton)
    with (
        served(app) as base_url,
        httpx.Client(base_url=base_url, timeout=10, trust_env=False) as http,
    ):
        yield http


@pytest.fixture(scope="session")
def _shared() -> Iterator[tuple[FakeTriton, httpx.Client]]:
    triton = FakeTriton()
    with _gateway(triton) as http:
        yield triton, http


@pytest.fixture
def triton(_shared: tuple[FakeTriton, httpx.Client]) -> FakeTriton:
    """The Triton behind the gateways of this test."""
    _shared[0].reset()
    return _shared[0]


@pytest.fixture
def http(_shared: tuple[FakeTriton, httpx.Client], triton: FakeTriton) -> httpx.Client:
    """A client of a gateway with default settings."""
    return _shared[1]


@pytest.fixture
def start_gateway(triton: FakeTriton) -> StartGateway:
    """`with start_gateway(max_prompts=2) as http:` serves with those settings."""
    return functools.partial(_gateway, triton)


@pytest.fixture
def site() -> Iterator[str]:
    """URL of a server whose paths are the methods `serve_…` of `Site`."""
    released = threading.Event()
    handler = type("OneSite", (Site,), {"released": released})
    with LocalServer(handler) as server:
        yield server.url
        released.set()
