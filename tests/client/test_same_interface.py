"""Both clients offer the same."""

from __future__ import annotations

import asyncio
import inspect
import threading

import ovseg_client
import pytest
from ovseg_client import AsyncClient, AsyncImageSession, Client, ImageSession
from ovseg_client.request import PredictArguments, PredictOptions, predict_request
from ovseg_client.waiting import Asyncio, Blocking, run_blocking

from tests.client.canned import CannedServer


def methods(kind: type) -> dict[str, list[str]]:
    """The public methods and their arguments."""
    return {
        name: [str(parameter) for parameter in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


def test_their_methods_and_arguments_are_the_same() -> None:
    sync, other = methods(Client), methods(AsyncClient)
    other["close"] = other.pop("aclose")

    assert sync == other
    assert {"predict", "image", "predict_many", "is_ready", "close"} < sync.keys()
    assert methods(ImageSession) | {"__init__": []} == methods(AsyncImageSession) | {"__init__": []}


def test_what_is_typed_is_what_is_taken() -> None:
    taken = set(inspect.signature(predict_request).parameters)

    assert taken == set(PredictOptions.__annotations__)
    assert PredictArguments.__required_keys__ == {"image"}
    assert PredictArguments.__optional_keys__ == taken


@pytest.mark.parametrize(("status", "is_ready"), [(200, True), (503, False), (None, False)])
def test_both_ask_whether_it_is_ready(
    server: CannedServer, status: int | None, is_ready: bool
) -> None:
    server.status = status or 200
    address = server.url if status else "http://127.0.0.1:1"

    async def call() -> bool:
        async with AsyncClient(address) as client:
            return await client.is_ready()

    with Client(address) as client:
        assert client.is_ready() is asyncio.run(call()) is is_ready
    assert server.gets == (["/health/ready"] * 2 if status else [])


def test_all_names_are_there() -> None:
    for name in ovseg_client.__all__:
        assert hasattr(ovseg_client, name)
    assert "AsyncClient" in ovseg_client.__all__


def test_a_call_that_does_not_block_is_no_call_of_the_blocking_client() -> None:
    assert run_blocking(Blocking().work(max, 1, 2)) == 2
    with pytest.raises(RuntimeError, match="awaits"):
        run_blocking(_sleep())


async def _sleep() -> None:
    class Never:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield

    await Never()


def test_work_of_the_async_client_leaves_the_event_loop_free() -> None:
    async def call() -> int:
        return await Asyncio().work(threading.get_ident)

    assert asyncio.run(call()) != threading.get_ident()
