"""What the pages load: the files of the folder `page`, and Swagger UI out of its package.

Their addresses, `static/VERSION/NAME`, change with the content, so that browsers may keep them for
good and yet never run an old script with a new page.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

PAGE_FOLDER = Path(__file__).parent / "page"

_SWAGGER_UI_PACKAGE = "fastapi_swagger"
_SWAGGER_UI_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Also the suffixes of what is served; a README beside the files is not."""


@dataclass(frozen=True)
class StaticFile:
    """One file, held in memory once somebody has asked for it."""

    path: Path

    @property
    def media_type(self) -> str:
        """Value of its `Content-Type` header."""
        return _MEDIA_TYPES[self.path.suffix]

    @cached_property
    def content(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    @cached_property
    def compressed(self) -> bytes | None:
        """Its bytes after gzip; None for what is compressed already."""
        return None if self.path.suffix == ".jpg" else gzip.compress(self.content, mtime=0)

    @cached_property
    def etag(self) -> str:
        """Value of its `ETag` header."""
        return f'W/"{hashlib.sha256(self.content).hexdigest()[:32]}"'


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Every file that is served, by its name in addresses, such as `samples/coffee.jpg`."""
    files = {
        path.relative_to(PAGE_FOLDER).as_posix(): StaticFile(path)
        for path in sorted(PAGE_FOLDER.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    swagger_ui = _folder_of_package(_SWAGGER_UI_PACKAGE) / "resources"
    files |= {f"swagger-ui/{name}": StaticFile(swagger_ui / name) for name in _SWAGGER_UI_FILES}
    return files


@cache
def static_version() -> str:
    """Names the content of all files together; part of their addresses."""
    digest = hashlib.sha256()
    for name, file in static_files().items():
        digest.update(f"{name} {file.etag}\n".encode())
    return digest.hexdigest()[:12]


@cache
def page_text(name: str) -> str:
    """A page of the folder, such as `index.html`; `{static}` in it leads to the other files.

    Addresses are relative to the page's own, so that they hold behind a proxy that adds a prefix.
    """
    text = static_files()[name].content.decode()
    return text.replace("{static}", f"static/{static_version()}")


def _folder_of_package(name: str) -> Path:
    """Where a package is installed. It is not imported: only its files are wanted."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name=name)
    return Path(spec.origin).parent
