"""A proxy in the environment is not asked for servers on this machine."""

from __future__ import annotations

import pytest
from ovseg_client import Client

from tests.client.canned import canned_server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_the_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    answer = {"logId": "1", "errorCode": 0, "result": {"masks": [], "maskInfos": []}}

    with canned_server() as server, Client(server.url.replace("127.0.0.1", host)) as client:
        server.answer = answer
        assert client.predict(b"file", boxes=[]).rles == []


def test_others_are_reached_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with canned_server() as proxy:
        proxy.answer = {"logId": "1", "errorCode": 0, "result": {"masks": [], "maskInfos": []}}
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)

        with Client("http://example.invalid:8080") as client:
            client.predict(b"file", boxes=[])

        assert len(proxy.sent) == 1
