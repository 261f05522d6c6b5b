"""JSON decoding: orjson's speed for good bodies, the standard library's verdict on the others."""

from __future__ import annotations

import json
from typing import Any

import orjson

_LONGEST_INT = 400
"""No float, and so no coordinate, has as many digits before its point."""


def decode_json(body: bytes) -> Any:
    """Decode a JSON document.

    What orjson refuses is decided by `json`, so that errors carry the positions that FastAPI
    services report, and so that `NaN`, `Infinity` and `1e400` arrive as floats, to be refused
    where the offending coordinate can be named.

    Raises:
        json.JSONDecodeError: not JSON; `pos` is where.
        UnicodeDecodeError: not UTF-8 (nor UTF-16 or UTF-32).
        RecursionError: nested too deeply.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body, parse_int=_parse_int)


def _parse_int(digits: str) -> int | float:
    """Python refuses to convert thousands of digits; as a float they are infinite."""
    return int(digits) if len(digits) < _LONGEST_INT else float(digits)
