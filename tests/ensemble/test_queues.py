"""The queues of Triton's stages, where callers of the gRPC port wait: bounded in every way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from ovseg.bench.workload import make_photo, unseen
from ovseg.server.model_sets import render_set
from ovseg.server.service import Service
from ovseg.settings import PROJECT_ROOT

STAGES = ("preprocess", "sam_encoder", "prompt_decoder", "postprocess", "visualize")
LONGEST_QUEUE = 64


def test_a_stages_queue_is_bounded_in_length_and_by_the_requests_timeout(
    mini_service: Service,
) -> None:
    photo = make_photo()
    # Made beforehand: they have to come faster than the first stage takes them.
    photos = [unseen(photo) for _ in range(LONGEST_QUEUE + 40)]
    with (
        triton.InferenceServerClient(mini_service.grpc_address) as client,
        ThreadPoolExecutor(len(photos)) as pool,
    ):

        def embed(photo: bytes) -> str:
            image = triton.InferInput("image", [1], "BYTES")
            image.set_data_from_numpy(np.array([photo], np.object_))
            try:
                client.infer("embed", [image], timeout=600_000)
            except InferenceServerException as error:
                return f"{error.status()} {error.message()}"
            return "answered"

        ends = list(pool.map(embed, photos))

    refused = [end for end in ends if "Exceeds maximum queue size" in end]
    expired = [end for end in ends if "Request timeout expired" in end]
    assert refused and expired and "answered" in ends
    assert all(end.startswith("StatusCode.UNAVAILABLE") for end in refused + expired)
    assert len(refused) + len(expired) + ends.count("answered") == len(ends)


def test_a_further_models_stages_have_the_same_queues(tmp_path: Path) -> None:
    configs = render_set(PROJECT_ROOT / "model_repository", "other", False, {})

    for stage in STAGES:
        policy = configs[stage].dynamic_batching.default_queue_policy
        assert policy.max_queue_size == LONGEST_QUEUE
        assert policy.allow_timeout_override
