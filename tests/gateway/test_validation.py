"""Requests that are refused: each with the status and the field that is to blame."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.requests import PATH, body, locations, problems

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("prompt_type", ["text", "Box", "", "box_prompt"])
def test_an_unknown_prompt_type_is_named(http: httpx.Client, prompt_type: str) -> None:
    response = http.post(PATH, json=body(promptType=prompt_type))

    assert problems(response) == [
        {
            "type": "literal_error",
            "loc": "body.promptType",
            "msg": "Input should be 'box' or 'point'",
        }
    ]


@pytest.mark.parametrize(
    ("prompt_type", "rows", "named"),
    [
        ("box", [[]], ["body.prompt[0]"]),
        ("box", [[1, 2, 3, 4], [1, 2, 3]], ["body.prompt[1]"]),
        ("box", [[1, 2], [3, 4]], ["body.prompt[0]", "body.prompt[1]"]),
        ("box", [[1, 2, 3, 4, 5]], ["body.prompt[0]"]),
        ("point", [[1, 2, 3, 4]], ["body.prompt[0]"]),
        ("point", [[1]], ["body.prompt[0]"]),
    ],
)
def test_rows_of_the_wrong_length_are_named(
    http: httpx.Client, prompt_type: str, rows: list[list[float]], named: list[str]
) -> None:
    response = http.post(PATH, json=body(prompt=rows, promptType=prompt_type))

    assert locations(response) == named
    expected = {"box": "4 numbers [x0, y0, x1, y1]", "point": "2 numbers [x, y]"}[prompt_type]
    assert all(expected in problem["msg"] for problem in problems(response))


@pytest.mark.parametrize(
    "number",
    [
        *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", '"nan"', '"inf"', '"-Infinity"'),
        *('"1e400"', "9" * 400, "-" + "9" * 5000, "9" * 100_000, "1e" + "9" * 5000),
    ],
)
def test_numbers_that_are_not_finite_are_named(http: httpx.Client, number: str) -> None:
    text = f'{{"image": "QUJD", "prompt": [[1, 2, 3, {number}]], "promptType": "box"}}'
    response = http.post(PATH, content=text, headers=JSON)

    assert locations(response) == ["body.prompt[0][3]"]


@pytest.mark.parametrize(
    "number",
    [
        *("1e6", "-1e6", "1000000", "0", "-0.0", "1e-400", "0." + "0" * 5000 + "1", "0.5"),
        *('"5"', "true"),  # as PaddleX's service has it
    ],
)
def test_numbers_within_the_limit_are_taken(http: httpx.Client, number: str) -> None:
    text = f'{{"image": "QUJD", "prompt": [[1, 2, 3, {number}]], "promptType": "box"}}'
    assert http.post(PATH, content=text, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    "number",
    [
        "1000000.0001",
        "-1e7",
        "1e308",
        "4294967296",
        "9" * 30,
        "null",
        "[1]",
        "{}",
        '"x"',
        '""',
        '"٣"',
    ],
)
def test_what_is_no_coordinate_is_named(http: httpx.Client, number: str) -> None:
    text = f'{{"image": "QUJD", "prompt": [[1, 2], [3, {number}]], "promptType": "point"}}'
    response = http.post(PATH, content=text, headers=JSON)

    assert locations(response) == ["body.prompt[1][1]"]


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("5", "body.prompt"),
        ("null", "body.prompt"),
        ('"abcd"', "body.prompt"),
        ('{"0": [1, 2, 3, 4]}', "body.prompt"),
        ("[5]", "body.prompt[0]"),
        ("[null]", "body.prompt[0]"),
        ('[[1, 2, 3, 4], "abcd"]', "body.prompt[1]"),
        ("[[1, 2, 3, [[4]]]]", "body.prompt[0][3]"),
    ],
)
def test_what_is_no_list_of_rows_is_named(http: httpx.Client, prompt: str, named: str) -> None:
    text = f'{{"image": "QUJD", "prompt": {prompt}, "promptType": "box"}}'
    assert locations(http.post(PATH, content=text, headers=JSON)) == [named]


def test_coordinates_beyond_the_limit_are_named(start_gateway: StartGateway) -> None:
    with start_gateway(max_coordinate=100) as http:
        refused = http.post(PATH, json=body(prompt=[[0, 0, 100, 100], [-101, 5, 1e30, 5]]))
        accepted = http.post(PATH, json=body(prompt=[[-100, -100, 100, 100]]))

    assert locations(refused) == ["body.prompt[1][0]", "body.prompt[1][2]"]
    assert accepted.status_code == 200


def test_more_prompts_than_allowed_are_refused(
    start_gateway: StartGateway, triton: FakeTriton
) -> None:
    with start_gateway(max_prompts=2) as http:
        response = http.post(PATH, json=body(prompt=[[1, 2, 3, 4]] * 3))

    assert [problem["type"] for problem in problems(response)] == ["too_long"]
    assert locations(response) == ["body.prompt"]
    assert triton.calls == []


def test_a_hostile_row_gets_a_short_answer(http: httpx.Client) -> None:
    response = http.post(PATH, json=body(prompt=[["x"] * 60] * 1000))

    assert len(problems(response)) == 100


@pytest.mark.parametrize("log_id", [7, ["x"], {"a": 1}, True])
def test_a_log_id_that_is_no_string_is_named(http: httpx.Client, log_id: Any) -> None:
    response = http.post(PATH, json=body(logId=log_id))

    assert locations(response) == ["body.logId"]


@pytest.mark.parametrize("field", ["logId", "image", "promptType"])
def test_text_that_is_no_unicode_is_refused(http: httpx.Client, field: str) -> None:
    good = {"image": "QUJD", "promptType": "box", "logId": "a"} | {field: "@"}
    fields = ", ".join(f'"{name}": "{value}"' for name, value in good.items())
    text = f'{{"prompt": [[1, 2, 3, 4]], {fields}}}'.replace("@", "\\ud800")
    response = http.post(PATH, content=text, headers=JSON)

    assert locations(response) == [f"body.{field}"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"\xff", 400),
        (b"{'image': 1}", 422),
        (b"\x00", 422),
        (b'{"image": "a"} x', 422),
        (b"12345678901234567890123456789", 422),
        (b"9" * 5000, 422),
        (b'{"logId": ' + b"9" * 5000 + b"}", 422),
    ],
)
def test_bodies_that_are_no_json_object_are_refused(
    http: httpx.Client, content: bytes, status: int
) -> None:
    response = http.post(PATH, content=content, headers=JSON)

    assert response.status_code == status
    assert response.json()["errorCode"] == status


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON;charset=utf-8", "application/x+json"]
)
def test_json_media_types_are_read(http: httpx.Client, content_type: str) -> None:
    text = b'{"image": "QUJD", "prompt": [[1, 2, 3, 4]], "promptType": "box"}'
    response = http.post(PATH, content=text, headers={"Content-Type": content_type})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "request_args",
    [
        {"method": "POST", "url": PATH, "json": {"logId": "mine"}},
        {"method": "POST", "url": PATH, "content": b'{"logId": "mine"}'},
        {"method": "POST", "url": PATH, "json": body(image="!", logId="mine")},
        {"method": "POST", "url": PATH, "json": body(prompt=[[1]], logId="mine")},
        {"method": "POST", "url": "/nope", "json": {"logId": "mine"}},
        {"method": "PUT", "url": PATH, "json": {"logId": "mine"}},
    ],
)
def test_every_refusal_echoes_the_callers_log_id(
    http: httpx.Client, request_args: dict[str, Any]
) -> None:
    response = http.request(**request_args)

    assert 400 <= response.status_code < 500
    assert response.json()["logId"] == "mine"
