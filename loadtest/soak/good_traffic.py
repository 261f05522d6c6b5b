"""Requests that must succeed: known and new images, boxes and points, both protocols."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import orjson

from loadtest.soak.exchanges import Addresses, Exchange, grpc, post
from loadtest.soak.trials import Question, Trial
from ovseg.bench.workload import SIZE, PromptKind, Request, make_photo, prompt_rows, unseen

PHOTO_SIZES = (SIZE, (512, 512), (360, 640))
PROMPTS: tuple[tuple[PromptKind, int], ...] = (
    ("box", 1),
    ("point", 1),
    ("box", 3),
    ("point", 8),
    ("box", 16),
)
_PROMPT_WEIGHTS = (8, 6, 4, 2, 1)
_URL_SHARE = 0.05
SECOND_MODEL = "sam_again"
"""The default model under another name, served beside it; its masks are the same."""


@dataclass(frozen=True)
class Asked:
    """A question and the request that asks it."""

    question: Question
    request: Request


def questions() -> dict[Question, Request]:
    """Everything that good traffic asks, about images that a server may know."""
    found = {}
    for width, height in PHOTO_SIZES:
        photo = make_photo(size=(width, height))
        for kind, count in PROMPTS:
            scale = (width / SIZE[0], height / SIZE[1]) * 2
            rows = tuple(
                tuple(round(number * factor, 1) for number, factor in zip(row, scale, strict=False))
                for row in prompt_rows(kind, count)
            )
            question = Question(f"{width}x{height}", f"{kind} prompts: {count}")
            found[question] = Request(photo, kind, rows, picture=False)
    return found


class GoodTraffic:
    """Mixes the questions with ways to ask them."""

    def __init__(self, photo_url: str) -> None:
        """`photo_url` leads to the first of the photos."""
        self._photo_url = photo_url
        by_photo: dict[str, list[Asked]] = {}
        for question, request in questions().items():
            by_photo.setdefault(question.photo, []).append(Asked(question, request))
        self._by_photo: Sequence[list[Asked]] = list(by_photo.values())
        self._latest: dict[str, bytes] = {}
        """New images that somebody has just asked about, by their photo."""

    def next(self, numbers: random.Random) -> Trial:
        """Another good request."""
        if numbers.random() < _URL_SHARE:
            return self._by_url()
        (asked,) = numbers.choices(numbers.choice(self._by_photo), _PROMPT_WEIGHTS)
        request = replace(asked.request, picture=numbers.random() < 0.25)
        novelty = numbers.choices(("known image", "new image", "same new image"), (5, 3, 1))[0]
        if novelty == "new image":
            image = self._latest[asked.question.photo] = unseen(request.image)
            request = replace(request, image=image)
        elif novelty == "same new image":  # perhaps still being encoded for its first caller
            image = self._latest.get(asked.question.photo, request.image)
            request = replace(request, image=image)
        way = numbers.choices(("REST", "REST, second model", "gRPC"), (6, 2, 3))[0]
        if way == "gRPC":
            return grpc_trial(f"gRPC, {novelty}", asked.question, request)
        model = None if way == "REST" else SECOND_MODEL
        return rest_trial(f"{way}, {novelty}", asked.question, request, model)

    def _by_url(self) -> Trial:
        asked = self._by_photo[0][0]
        body = orjson.dumps({**orjson.loads(asked.request.body()), "image": self._photo_url})
        send = partial(_post, body=body)
        return Trial("REST, image by URL", "good", send, question=asked.question)

    def probe(self) -> Trial:
        """A request that needs every stage: a new image, and the picture."""
        asked = self._by_photo[0][0]
        image = unseen(asked.request.image)
        request = replace(asked.request, image=image, picture=True)
        return rest_trial("REST, probe after a fault", asked.question, request)


def rest_trial(kind: str, question: Question, request: Request, model: str | None = None) -> Trial:
    """The request as a gateway's caller sends it."""
    body = request.body()
    if model is not None:
        body = orjson.dumps({**orjson.loads(body), "model": model})
    return Trial(kind, "good", partial(_post, body=body), question=question)


def grpc_trial(kind: str, question: Question, request: Request) -> Trial:
    """The request as Triton's caller sends it."""
    send = partial(
        grpc,
        image=request.image,
        kind=request.kind,
        rows=request.rows,
        picture=request.picture,
    )
    return Trial(kind, "good", send, question=question, protocol="gRPC")


def _post(addresses: Addresses, body: bytes) -> Exchange:
    return post(addresses, body)
