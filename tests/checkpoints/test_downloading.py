"""Downloads against a server that breaks off, lies and corrupts: whole and right, or one line."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile_server import Answer, HostileServer

from ovseg.checkpoints import downloading
from ovseg.checkpoints.downloading import RetryPolicy, download
from ovseg.checkpoints.errors import DownloadError
from ovseg.checkpoints.partial_file import PartialFile
from ovseg.checkpoints.published import PublishedFile

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
IMPATIENT = RetryPolicy(failures=3, first_delay_s=0.001, longest_delay_s=0.01, timeout_s=5)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    server = HostileServer(CONTENT)
    yield server
    server.server_close()


@pytest.fixture
def known(server: HostileServer) -> PublishedFile:
    """The server's file, with its size and checksum."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return PublishedFile(server.address_of("sam.pth"), len(CONTENT), sha256)


@pytest.fixture
def unknown(server: HostileServer) -> PublishedFile:
    """The server's file, of which nothing is known."""
    return PublishedFile(server.address_of("sam.tar"))


def fetch(file: PublishedFile, folder: Path) -> bytes:
    """Download; the content."""
    return download(file, folder, lambda received, total: None, policy=IMPATIENT).read_bytes()


def fail(file: PublishedFile, folder: Path) -> str:
    """Download in vain; the message, which is one line."""
    with pytest.raises(DownloadError) as error:
        fetch(file, folder)
    assert "\n" not in str(error.value)
    assert not (folder / file.name).exists()
    return str(error.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_whole_file_and_progress(known: PublishedFile, tmp_path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    path = download(known, tmp_path / "new", lambda *report: reports.append(report))
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {"sam.pth"}
    assert reports[0] == (0, len(CONTENT))
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert reports == sorted(reports)


def test_a_file_that_is_there_is_not_asked_for(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    fetch(known, tmp_path)
    fetch(known, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["known", "unknown"])
def test_goes_on_where_it_broke_off(
    kind: str, request: pytest.FixtureRequest, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=100_000), Answer(cut_after=50_000), Answer()]
    assert fetch(request.getfixturevalue(kind), tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on(known: PublishedFile, server: HostileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut_after=100_000), *[Answer(cut_after=0)] * 2]
    assert "what has been received is kept" in fail(known, tmp_path)
    assert names(tmp_path) == {"sam.pth.part", "sam.pth.part.json"}
    server.requests.clear()
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == ["bytes=100000-"]
    assert names(tmp_path) == {"sam.pth"}


def test_progress_makes_it_patient(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=30_000)] * 9
    assert fetch(known, tmp_path) == CONTENT
    assert len(server.requests) == 10


def test_ranges_that_are_ignored(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=100_000), Answer(ignores_range=True)]
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changes_in_between(
    unknown: PublishedFile, server: HostileServer, tmp_path: Path, honours_if_range: bool
) -> None:
    def change(server: HostileServer) -> None:
        server.content = OTHER

    second = Answer(before=change, ignores_if_range=not honours_if_range)
    server.answers = [Answer(cut_after=100_000), second]
    assert fetch(unknown, tmp_path) == OTHER


def test_a_file_that_becomes_shorter(
    unknown: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    def shorten(server: HostileServer) -> None:
        server.content = OTHER[:50_000]

    server.answers = [Answer(cut_after=100_000), Answer(before=shorten, ignores_if_range=True)]
    assert fetch(unknown, tmp_path) == OTHER[:50_000]


def test_without_validator_and_checksum_nothing_is_joined(
    unknown: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=100_000, has_validator=False), Answer()]
    assert fetch(unknown, tmp_path) == CONTENT
    assert server.ranges == [None, None]


def test_joined_versions_are_noticed_and_fetched_anew(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    """No validator: only the checksum can tell that the parts do not belong together."""
    server.content = OTHER

    def change_back(server: HostileServer) -> None:
        server.content = CONTENT

    server.answers = [
        Answer(cut_after=100_000, has_validator=False),
        Answer(before=change_back, has_validator=False),
    ]
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_corruption_is_noticed_and_nothing_is_kept(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(flips_a_bit=True)]
    assert "is not the expected file" in fail(known, tmp_path)
    assert names(tmp_path) == set()
    assert fetch(known, tmp_path) == CONTENT


def test_a_complete_part_is_taken(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=100_000), *[Answer(cut_after=0)] * 2]
    fail(known, tmp_path)
    (tmp_path / "sam.pth.part").write_bytes(CONTENT)
    server.requests.clear()
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_address_is_not_used(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(cut_after=100_000), *[Answer(cut_after=0)] * 2]
    fail(PublishedFile(server.address_of("old/sam.pth")), tmp_path)
    server.requests.clear()
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == [None]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(
    known: PublishedFile, server: HostileServer, tmp_path: Path, status: int
) -> None:
    server.answers = [Answer(status=status, headers={"Retry-After": "1"})] * 2
    assert fetch(known, tmp_path) == CONTENT
    server.answers = [Answer(status=status)] * 3
    assert f"the server answered {status}" in fail(known, tmp_path / "again")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_missing_files_are_not_asked_for_again(
    known: PublishedFile, server: HostileServer, tmp_path: Path, status: int
) -> None:
    server.answers = [Answer(status=status)]
    assert f"the server answered {status}" in fail(known, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == set()


def test_delays_double_and_are_limited(
    known: PublishedFile,
    server: HostileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(downloading, "time", SimpleNamespace(sleep=delays.append))
    server.answers = [Answer(status=503)] * 4 + [Answer(status=503, headers={"Retry-After": "7"})]
    policy = RetryPolicy(failures=6, first_delay_s=1, longest_delay_s=5)
    download(known, tmp_path, lambda received, total: None, policy=policy)
    assert delays == [1, 2, 4, 5, 5]


def test_offline(tmp_path: Path, server: HostileServer) -> None:
    port = server.server_port
    server.server_close()
    message = fail(PublishedFile(f"http://127.0.0.1:{port}/sam.pth"), tmp_path)
    assert message.startswith("cannot reach 127.0.0.1")
    assert "ovseg import sam.pth" in message


def test_another_size_is_another_file(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.content = CONTENT + b"more"
    assert "has 300004 bytes instead of 300000" in fail(known, tmp_path)


def test_login_pages_are_not_models(
    unknown: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    server.answers = [Answer(headers={"Content-Type": "text/html; charset=utf-8"})]
    assert "is a web page" in fail(unknown, tmp_path)


def test_full_disk_is_seen_before_it_is_full(
    known: PublishedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Any = SimpleNamespace(free=downloading.SPARE_BYTES + len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "GB free" in fail(known, tmp_path)
    usage.free += 1
    assert fetch(known, tmp_path) == CONTENT


def test_two_downloads_of_one_file(known: PublishedFile, tmp_path: Path) -> None:
    with PartialFile(tmp_path, known):
        assert "another process is downloading sam.pth" in fail(known, tmp_path)


def test_a_killed_run_leaves_what_came(
    known: PublishedFile, server: HostileServer, tmp_path: Path
) -> None:
    """SIGKILL in the middle: a child process stops for good while bytes come in."""
    stalled = threading.Event()

    def stall(_: HostileServer) -> None:
        stalled.set()
        threading.Event().wait(3)

    server.answers = [Answer(cut_after=200_000), Answer(before=stall)]
    program = (
        "import sys; from pathlib import Path\n"
        "from ovseg.checkpoints.downloading import download\n"
        "from ovseg.checkpoints.published import PublishedFile\n"
        "download(PublishedFile(sys.argv[1]), Path(sys.argv[2]), lambda *report: None)"
    )
    with subprocess.Popen([sys.executable, "-c", program, known.url, str(tmp_path)]) as child:
        assert stalled.wait(30)
        child.kill()
    server.requests.clear()
    assert fetch(known, tmp_path) == CONTENT
    assert server.ranges == ["bytes=200000-"]
