"""Everything through the real service, against what Meta's generator has found.

`OVSEG_GOLDEN_DIR` names another folder of its answers, see `make test-reference`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovseg_client import AsyncClient, Client, Everything, InvalidRequestError
from pycocotools import mask as coco_mask

from ovseg.server.model_sets import render_set
from ovseg.server.service import Service
from ovseg.server.stage_times import watch_stages
from ovseg.settings import EXAMPLE_PHOTO, PROJECT_ROOT

TESTS = Path(__file__).parents[1]
sys.path.append(str(TESTS / "golden"))
from everything_cases import EVERYTHING_CASES, EverythingCase  # noqa: E402

GOLDEN = Path(os.environ.get("OVSEG_GOLDEN_DIR", TESTS / "golden"))
SAME_IOU, SHARE = 0.9, 0.95
FEW: dict[str, Any] = {
    "points_per_side": 3,
    "points_per_batch": 4,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.5,
}


def compare(ours: Everything, case: EverythingCase) -> tuple[int, int, int, int]:
    """How many of our masks are among Meta's, of how many, and the other way round."""
    with np.load(GOLDEN / f"{case.name}.npz") as meta:
        theirs = [
            {"size": meta["size"].tolist(), "counts": text} for text in meta["counts"].tolist()
        ]
        ious = coco_mask.iou(ours.flat_rles, theirs, [False] * len(theirs))
        # What is said of the masks that are the same agrees too.
        rows, columns = np.nonzero(ious > 0.999)
        assert len(rows) > len(theirs) // 2
        np.testing.assert_allclose(ours.scores[rows], meta["predicted_iou"][columns], atol=0.03)
        np.testing.assert_allclose(
            ours.stability_scores[rows], meta["stability_score"][columns], atol=0.03
        )
        crops = meta["crop_box"][columns]
        crops[:, 2:] += crops[:, :2]
        is_same = (np.abs(ours.points[rows] - meta["point_coords"][columns]) < 0.01).all(axis=1)
        assert is_same.mean() > 0.9
        np.testing.assert_array_equal(ours.crop_boxes[rows][is_same], crops[is_same])
    return (
        int((ious.max(axis=1) >= SAME_IOU).sum()),
        len(ours.rles),
        int((ious.max(axis=0) >= SAME_IOU).sum()),
        len(theirs),
    )


def test_the_same_masks_as_metas_generator(mini_service: Service) -> None:
    agreement = np.zeros(4, int)
    progress: list[tuple[int, int | None]] = []
    with Client(mini_service.base_url, timeout=600) as client:
        for case in EVERYTHING_CASES:
            progress.clear()
            ours = client.everything(
                case.photo,
                progress=lambda *reported: progress.append(reported),
                **case.parameters,  # type: ignore[arg-type]
            )
            assert progress[0][0] == 0 and progress[-1][0] == progress[-1][1]
            assert progress == sorted(progress) and len(progress) > 4
            agreement += compare(ours, case)
    our_matches, ours_in_all, their_matches, theirs_in_all = agreement
    assert theirs_in_all > 80
    assert our_matches / ours_in_all >= SHARE and their_matches / theirs_in_all >= SHARE


def test_grpc_gives_the_same_from_the_cached_embedding(mini_service: Service) -> None:
    address = f"grpc://{mini_service.grpc_address}"

    async def call() -> Everything:
        async with AsyncClient(address) as client:
            return await client.everything(EXAMPLE_PHOTO, visualize=True, **FEW)

    with Client(mini_service.base_url) as rest, Client(address) as grpc:
        expected = rest.everything(EXAMPLE_PHOTO, **FEW)
        with watch_stages(mini_service.grpc_address) as stages:
            over_grpc = grpc.everything(EXAMPLE_PHOTO, **FEW)
        with pytest.raises(InvalidRequestError, match="points_per_side: should be between"):
            grpc.everything(EXAMPLE_PHOTO, points_per_side=0)
        for client in (rest, grpc):
            with pytest.raises(InvalidRequestError, match="image: not an image"):
                client.everything(b"no image")
    assert "prompt_decoder" in stages and "preprocess" not in stages and stages.cache_hit
    with_picture = asyncio.run(call())
    assert with_picture.overlay is not None and with_picture.overlay[:3] == b"\xff\xd8\xff"
    for other in (over_grpc, with_picture):
        assert expected.rles == other.rles
        for name in ("scores", "stability_scores", "points", "crop_boxes"):
            np.testing.assert_array_equal(getattr(expected, name), getattr(other, name))


class _EnoughError(Exception):
    pass


def test_others_go_on_meanwhile_and_a_caller_who_leaves_is_not_worked_for(
    mini_service: Service,
) -> None:
    begun, enough = threading.Event(), threading.Event()
    ended = []

    def leave_when_told(done: int, total: int | None) -> None:
        begun.set()
        if enough.is_set():
            raise _EnoughError

    def find_everything() -> None:
        with Client(mini_service.base_url, timeout=600) as client:
            try:
                client.everything(EXAMPLE_PHOTO, points_per_side=64, progress=leave_when_told)
            except _EnoughError:
                ended.append("left")

    with Client(mini_service.base_url, timeout=600) as other:
        finding = threading.Thread(target=find_everything)
        finding.start()
        try:
            assert begun.wait(300)
            assert len(other.predict(EXAMPLE_PHOTO, points=[220, 100]).rles) == 1
            assert finding.is_alive()
        finally:
            enough.set()
            finding.join()
        assert ended == ["left"]
        # Only one is found at a time: this one has its turn because the other was stopped.
        assert other.everything(EXAMPLE_PHOTO, **FEW).rles


def test_a_further_models_everything_calls_its_own_stages() -> None:
    repository = PROJECT_ROOT / "model_repository"
    configs = render_set(repository, "other", False, {"model": "other"}, "f00")
    called = {name: p.string_value for name, p in configs["everything"].parameters.items()}
    assert called == {
        "model": "other",
        "embed": "embed.other~f00",
        "sam_encoder": "sam_encoder.other",
        "prompt_decoder": "prompt_decoder.other",
        "visualize": "visualize.other",
    }
