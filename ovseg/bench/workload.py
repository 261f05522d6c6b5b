"""What is asked: photos, prompts, and the scenarios and mixes that are made of them."""

from __future__ import annotations

import base64
import io
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import orjson
from PIL import Image, ImageOps

from ovseg.settings import EXAMPLE_PHOTO

SIZE = (1000, 750)
"""Width and height of the photo that is asked about."""
_SEED = 7
_MARGIN = 20
_SMALLEST_SIDE = 60

PromptKind = Literal["box", "point"]


@dataclass(frozen=True)
class Request:
    """One request, for any protocol."""

    image: bytes
    kind: PromptKind
    rows: tuple[tuple[float, ...], ...]
    picture: bool

    def body(self) -> bytes:
        """The JSON body of the REST API."""
        return orjson.dumps(
            {
                "image": base64.b64encode(self.image).decode("ascii"),
                "promptType": self.kind,
                "prompt": self.rows,
                "visualize": self.picture,
            }
        )


@dataclass(frozen=True)
class Scenario:
    """A kind of request whose latency is measured.

    Attributes:
        name: in tables.
        prompts: how many, of one kind.
        new_image: whether each request has an image that no server has seen.
    """

    name: str
    prompts: int
    kind: PromptKind = "box"
    picture: bool = False
    new_image: bool = False

    def request(self, photo: bytes) -> Request:
        """The next request of this scenario."""
        image = unseen(photo) if self.new_image else photo
        return Request(image, self.kind, prompt_rows(self.kind, self.prompts), self.picture)


SCENARIOS = (
    Scenario("new image, 1 box", 1, new_image=True),
    Scenario("next prompt, 1 box", 1),
    Scenario("next prompt, 1 point", 1, "point"),
    Scenario("next prompt, 1 box, picture", 1, picture=True),
    Scenario("next prompt, 3 boxes, picture", 3, picture=True),
    Scenario("next prompt, 16 boxes", 16),
    Scenario("next prompt, 64 boxes", 64),
)

MIXES = {"all new": 1.0, "one hot image": 0.0, "80 % hot": 0.2}
"""Share of requests with an image that nobody has seen, by the mix's name."""


@lru_cache
def make_photo(source: Path = EXAMPLE_PHOTO, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG file of the given width and height, cut from a photo."""
    file = io.BytesIO()
    with Image.open(source) as photo:
        ImageOps.fit(photo.convert("RGB"), size).save(file, "JPEG", quality=90)
    return file.getvalue()


_numbers = itertools.count(random.SystemRandom().getrandbits(32))


def unseen(photo: bytes) -> bytes:
    """The photo as a file that no cache knows: decoders ignore what follows a JPEG's end."""
    return photo + next(_numbers).to_bytes(16, "big")


@lru_cache
def prompt_rows(kind: PromptKind, count: int) -> tuple[tuple[float, ...], ...]:
    """Prompts within the photo, in pixels, the same in every run."""
    numbers = random.Random(_SEED)
    return tuple(itertools.islice(_boxes(numbers) if kind == "box" else _points(numbers), count))


def mixed_requests(photo: bytes, new_share: float, seed: int) -> Iterator[Request]:
    """Endless requests with one box and no picture, a share of them with unseen images."""
    numbers = random.Random(seed)
    boxes = prompt_rows("box", 64)
    while True:
        image = unseen(photo) if numbers.random() < new_share else photo
        yield Request(image, "box", (numbers.choice(boxes),), picture=False)


def _boxes(numbers: random.Random) -> Iterator[tuple[float, ...]]:
    while True:
        x0, x1 = sorted(_inside(numbers, SIZE[0]) for _ in range(2))
        y0, y1 = sorted(_inside(numbers, SIZE[1]) for _ in range(2))
        if min(x1 - x0, y1 - y0) >= _SMALLEST_SIDE:
            yield (x0, y0, x1, y1)


def _points(numbers: random.Random) -> Iterator[tuple[float, ...]]:
    while True:
        yield (_inside(numbers, SIZE[0]), _inside(numbers, SIZE[1]))


def _inside(numbers: random.Random, length: int) -> float:
    return float(numbers.randrange(_MARGIN, length - _MARGIN))
