"""What the tests of an exposed service share: certificates, and a server that wants a password."""

from __future__ import annotations

import contextlib
import http.server
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.local_server import LocalServer


@dataclass(frozen=True)
class Certificate:
    """PEM files of one certificate for 127.0.0.1 and localhost."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def make_certificate(folder: Path) -> Certificate:
    """A certificate of a new authority that nobody else trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = Certificate(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(files.ca_file)
    issued.private_key_pem.write_to_path(files.key_file)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files.cert_file, append=True)
    return files


@contextlib.contextmanager
def file_server(content: bytes) -> Iterator[str]:
    """Serves one file at `/image` and nothing else; yields 127.0.0.1:port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/image")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with LocalServer(Handler) as server:
        yield f"127.0.0.1:{server.server_port}"
