"""The Triton model that clients of PaddleX's high-stability serving call, on the real service."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO
from tests.gateway.requests import PATH

MODEL = "open-vocabulary-segmentation"
PHOTO = base64.b64encode(EXAMPLE_PHOTO.read_bytes()).decode()
GOOD = {"image": PHOTO, "promptType": "box", "prompt": [[150, 12, 300, 150]], "logId": "x"}
BODIES = {
    "box with the picture": GOOD,
    "points": {**GOOD, "promptType": "point", "prompt": [[170, 385], [300, 60]]},
    "no picture": {**GOOD, "visualize": False},
    "unknown model": {**GOOD, "model": "nobody"},
    "a row too short": {**GOOD, "prompt": [[1, 2, 3]]},
    "no image file": {**GOOD, "image": base64.b64encode(b"no image").decode()},
    "private address": {**GOOD, "image": "http://127.0.0.1/photo.jpg"},
}


def ask(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """Ask the model as PaddleX's client does: one BYTES [1, 1] in, one out."""
    tensor = triton.InferInput("input", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[json.dumps(body).encode()]], np.object_))
    with triton.InferenceServerClient(service.grpc_address) as client:
        output = client.infer(MODEL, [tensor]).as_numpy("output")
    assert output.shape == (1, 1)
    answer: dict[str, Any] = json.loads(output[0][0])
    return answer


@pytest.mark.parametrize("name", BODIES)
def test_the_answer_is_that_of_the_rest_api(name: str, mini_service: Service) -> None:
    with httpx.Client(base_url=mini_service.base_url, timeout=60, trust_env=False) as http:
        expected = http.post(PATH, json=BODIES[name]).json()
    expected.get("result", {}).pop("imageId", None)

    assert ask(mini_service, BODIES[name]) == expected
    assert expected["errorCode"] in (0, 422)


def test_it_has_the_peers_tensors(mini_service: Service) -> None:
    with triton.InferenceServerClient(mini_service.grpc_address) as client:
        metadata = client.get_model_metadata(MODEL)

    def described(tensors: Any) -> list[tuple[str, str, list[int]]]:
        return [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in tensors]

    assert described(metadata.inputs) == [("input", "BYTES", [1, 1])]
    assert described(metadata.outputs) == [("output", "BYTES", [1, 1])]
