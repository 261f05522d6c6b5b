"""Whatever a body holds: a checked request comes out of it, or a refusal that names a field."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import InvalidRequestError, UnreadableBodyError
from ovseg_gateway.json_body import decode_json
from ovseg_gateway.request_parsing import read_segmentation_request
from starlette.requests import Request

from ovseg.settings import Settings

SETTINGS = Settings(max_prompts=5, max_coordinate=1000)

numbers = st.one_of(
    st.integers(-2000, 2000), st.floats(), st.integers(), st.booleans(), st.text(max_size=5)
)
junk = st.recursive(
    st.none() | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
rows = st.lists(st.lists(numbers, max_size=5) | junk, max_size=6)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "image": st.just("QUJD") | junk,
        "prompt": rows | junk,
        "promptType": st.sampled_from(["box", "point"]) | junk,
        "visualize": st.none() | st.booleans() | junk,
        "model": junk,
        "logId": junk,
        "more": junk,
    },
)
good_rows = st.sampled_from([("box", 4), ("point", 2)]).flatmap(
    lambda kind: st.tuples(
        st.just(kind[0]),
        st.lists(st.lists(st.floats(-1000, 1000), min_size=kind[1], max_size=kind[1]), max_size=5),
    )
)


def read(content: bytes) -> Any:
    """What a route gets of a body, run without an event loop: nothing in it waits."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    scope = {
        "type": "http",
        "headers": [(b"content-type", b"application/json")],
        "state": {"context": RequestContext()},
        "app": SimpleNamespace(),
    }
    reading = read_segmentation_request(Request(scope, receive), SETTINGS)
    with pytest.raises(StopIteration) as end:
        reading.send(None)
    return end.value.value


def is_usable(parsed: Any) -> bool:
    length = {"box": 4, "point": 2}[parsed.prompt_type]
    return len(parsed.prompt) <= 5 and all(
        len(row) == length and all(math.isfinite(x) and abs(x) <= 1000 for x in row)
        for row in parsed.prompt
    )


@given(bodies)
def test_any_json_object_is_usable_or_refused_by_field(payload: dict[str, Any]) -> None:
    try:
        parsed = read(json.dumps(payload).encode())
    except InvalidRequestError as refusal:
        assert refusal.problems
        assert all(problem.loc.split("[")[0].startswith("body") for problem in refusal.problems)
        orjson.dumps(str(refusal))  # the answer can be written
    else:
        assert is_usable(parsed)


@given(good_rows)
def test_every_good_request_is_taken_as_it_is(kind_and_rows: tuple[str, list[list[float]]]) -> None:
    kind, rows = kind_and_rows
    parsed = read(json.dumps({"image": "QUJD", "promptType": kind, "prompt": rows}).encode())

    assert (parsed.prompt_type, parsed.prompt) == (kind, rows)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises((InvalidRequestError, UnreadableBodyError)):
        read(content)


@given(junk)
def test_json_is_decoded_to_what_was_encoded(value: Any) -> None:
    def comparable(value: Any) -> str:
        return repr(json.loads(json.dumps(value, default=str), parse_int=cast(Any, float)))

    assert comparable(decode_json(json.dumps(value).encode())) == comparable(value)
