"""Bodies and answers that the gateway's tests share."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx

PATH = "/open-vocabulary-segmentation"
IMAGE_FILE = b"the gateway never looks into an image file"
IMAGE = base64.b64encode(IMAGE_FILE).decode()
IMAGE_ID = hashlib.sha256(IMAGE_FILE).hexdigest()


def body(**fields: Any) -> dict[str, Any]:
    """A good request (one box, no picture), with other or further fields."""
    good = {"image": IMAGE, "prompt": [[1, 2, 3, 4]], "promptType": "box", "visualize": False}
    return good | fields


def problems(response: httpx.Response) -> list[dict[str, str]]:
    """What a 422 answer lists."""
    assert response.status_code == 422, response.text
    answer = response.json()
    assert answer.keys() == {"logId", "errorCode", "errorMsg"}
    assert answer["errorCode"] == 422
    listed: list[dict[str, str]] = json.loads(answer["errorMsg"])
    return listed


def locations(response: httpx.Response) -> list[str]:
    """The fields that a 422 answer names."""
    return [problem["loc"] for problem in problems(response)]
