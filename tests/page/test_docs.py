"""/docs shows the API with no other host to be reached."""

from __future__ import annotations

from urllib.parse import urlsplit

from ovseg.server.service import Service
from tests.page.person import Person
from tests.page.tab import Tab


def hosts(tab: Tab) -> set[str]:
    urls = [event["request"]["url"] for event in tab.events("Network.requestWillBeSent")]
    return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https")}


def test_the_api_description_works_and_asks_nobody_else(tab: Tab, mini_service: Service) -> None:
    tab.open(f"{mini_service.base_url}/docs")
    tab.wait("document.querySelectorAll('.opblock').length >= 5")
    tab.click(".opblock-post .opblock-summary-control")
    tab.wait("document.querySelector('.opblock-post .responses-table') !== null")

    assert "/open-vocabulary-segmentation" in tab.text("#swagger-ui")
    assert hosts(tab) == {urlsplit(mini_service.base_url).netloc}


def test_a_request_can_be_made_from_it(tab: Tab, mini_service: Service) -> None:
    tab.open(f"{mini_service.base_url}/docs")
    tab.wait("document.querySelectorAll('.opblock-get').length >= 3")
    tab.click("#operations-default-checkHealth .opblock-summary-control")
    tab.wait("document.querySelector('#operations-default-checkHealth .try-out__btn') !== null")
    tab.js("document.querySelector('#operations-default-checkHealth .try-out__btn').click()")
    tab.wait("document.querySelector('#operations-default-checkHealth .execute') !== null")
    tab.js("document.querySelector('#operations-default-checkHealth .execute').click()")
    tab.wait("document.querySelector('#swagger-ui').innerText.includes('Healthy')")


def test_the_page_asks_nobody_else(person: Person, mini_service: Service) -> None:
    person.open_sample()
    assert hosts(person.tab) == {urlsplit(mini_service.base_url).netloc}
