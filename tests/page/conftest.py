"""A browser and a service for all tests of the page, and a tab for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovseg.server.service import Service
from tests.page.chromium import Browser, chromium_path, running_browser
from tests.page.person import Person
from tests.page.tab import Tab


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium or Chrome is installed (Debian: apt-get install chromium)")
    with running_browser(path) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, tmp_path: Path) -> Iterator[Tab]:
    """A tab that must not have complained when the test is over."""
    tab = Tab(browser, tmp_path)
    yield tab
    complaints = [text for text in tab.complaints() if not any(map(text.count, tab.expected))]
    tab.close()
    assert complaints == []


@pytest.fixture
def person(tab: Tab, mini_service: Service) -> Person:
    """Somebody with the page before them."""
    tab.open(f"{mini_service.base_url}/")
    return Person(tab)
