"""A canned server, and both clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from ovseg.cli.predict_command import predict
from tests.client import canned


@pytest.fixture
def server() -> Iterator[canned.CannedServer]:
    with canned.canned_server() as server:
        yield server


@pytest.fixture(params=[canned.ask, canned.ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> canned.Ask:
    """Asks with each of the clients."""
    chosen: canned.Ask = request.param
    return chosen


@pytest.fixture
def run() -> canned.Run:
    """Runs `ovseg predict`."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(predict)
    runner = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])
