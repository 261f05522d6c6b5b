"""The OpenAPI document tells the truth: requests made from it get the answers that it lists."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from ovseg.server.service import Service
from tests.stages.image_files import encoded

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    use_after_free,
]


def exercise(base_url: str, examples: int) -> Counter[int]:
    """Make requests of each operation of the document and check the answers; counts POSTs'."""
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json")
    photo = base64.b64encode(encoded(Image.new("RGB", (40, 30)), "PNG")).decode()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        # Nothing can be wrong with a request that has neither parameters nor a body.
        for mode in GenerationMode if operation.method == "post" else [GenerationMode.POSITIVE]:

            @settings(
                max_examples=examples,
                deadline=20_000,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(
                case=operation.as_strategy(generation_mode=mode),
                is_photo=st.sampled_from([True, True, False]),
            )
            def answers_conform(case: Case[Any], is_photo: bool) -> None:
                if is_photo and isinstance(case.body, dict):
                    case.body |= {"image": photo, "model": None}
                    if not case.body.get("prompts"):
                        case.body.pop("prompts", None)
                        case.body |= {"promptType": "point", "prompt": [[1, 2], [3, 4]]}
                answer = case.call_and_validate(checks=CHECKS)
                if case.method == "POST":
                    statuses[answer.status_code] += 1

            answers_conform()
    return statuses


def test_the_gateway_answers_as_its_document_says(http: httpx.Client) -> None:
    statuses = exercise(str(http.base_url).rstrip("/"), 100)
    assert min(statuses[200], statuses[422]) > 20, statuses


def test_the_service_answers_as_its_document_says(standin_service: Service) -> None:
    statuses = exercise(standin_service.base_url, 40)
    assert min(statuses[200], statuses[422]) > 5, statuses
