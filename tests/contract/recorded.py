"""The recorded cases of the peer's contract: reading them, and rebuilding the bodies they sent.

See `data/README.md`. Where a body held an image, the recording cut its base64 text; here the text
of an image of the same size goes back in.
"""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

DATA = Path(__file__).parent / "data"
SMALL_IMAGE_SIZE = (200, 150)
"""Width and height of the image of those cases that do not name one (see their `derived.sizes`)."""

_CUT_IMAGE = re.compile(r"[A-Za-z0-9+/=]*\.\.\.<(?P<chars>\d+) chars, [^>]*>")
_CHARS_OF_BASE_IMAGE = 56928


@dataclass(frozen=True)
class Case:
    """One request to the peer and its answer."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer: str
    """The answer's body as recorded: pictures in it are cut, and very long answers end early."""
    answer_bytes: int
    """Length of the whole answer."""
    derived: dict[str, Any]

    @property
    def answer_is_whole(self) -> bool:
        """False where the recording ends before the answer does."""
        return not self.answer.endswith(f"...<{self.answer_bytes} total>")

    @property
    def answer_json(self) -> dict[str, Any]:
        """The answer, decoded."""
        decoded: dict[str, Any] = json.loads(self.answer)
        return decoded


@lru_cache
def recorded_cases() -> tuple[Case, ...]:
    """All cases, in the order of the recording."""
    lines = (DATA / "peer_cases.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(_case(json.loads(line)) for line in lines)


@lru_cache
def base_image() -> bytes:
    """The JPEG file, 1000 x 750, that most requests sent."""
    return (DATA / "images" / "base.jpg").read_bytes()


@lru_cache
def small_image() -> bytes:
    """A JPEG file of 200 x 150, the base image made smaller.

    The stand-in models look at an image's size and, for pixels exactly on a box's edge, at whether
    it is dark there; the image that was recorded is not in the data.
    """
    file = io.BytesIO()
    Image.open(io.BytesIO(base_image())).resize(SMALL_IMAGE_SIZE).save(file, "JPEG")
    return file.getvalue()


def _case(recorded: dict[str, Any]) -> Case:
    request, response = recorded["request"], recorded["response"]
    return Case(
        name=recorded["name"],
        method=request["method"],
        path=request["path"],
        headers=request["headers"],
        body=_body(recorded["name"], request["body"]),
        status=response["status"],
        answer=response["body"],
        answer_bytes=response["body_bytes"],
        derived=recorded["derived"] or {},
    )


def _body(name: str, text: str) -> bytes:
    if name == "invalid_utf8":
        return b'{"image": "\xff\xfe"}'  # the recording shows two replacement characters
    return _CUT_IMAGE.sub(_whole_image, text).encode()


def _whole_image(cut: re.Match[str]) -> str:
    is_base_image = int(cut["chars"]) == _CHARS_OF_BASE_IMAGE
    return base64.b64encode(base_image() if is_base_image else small_image()).decode("ascii")
