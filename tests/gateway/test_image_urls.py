"""Images by URL, fetched from a real server on loopback."""

from __future__ import annotations

import socket

import pytest
from ovseg_gateway.url_fetcher import FetchError

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.image_site import PICTURE, fetch
from tests.gateway.requests import PATH, body, locations, problems


def test_the_file_at_a_url_goes_to_triton(
    start_gateway: StartGateway, triton: FakeTriton, site: str
) -> None:
    with start_gateway(url_allow_private=True) as http:
        response = http.post(PATH, json=body(image=f"{site}/picture"))

    assert response.status_code == 200
    assert triton.last.tensors["image"].tolist() == [PICTURE]
    assert "fetch;dur=" in response.headers["server-timing"]


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
