"""Measuring: what is counted, in which order, with servers that only pretend."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ovseg.bench.callers import Answer, parse_server_timing
from ovseg.bench.instances import Setting, settings_to_try, write_repository
from ovseg.bench.measuring import Target, mask_ious, measure_latency, measure_throughput
from ovseg.bench.memory import process_tree, watch_memory
from ovseg.bench.workload import (
    SCENARIOS,
    SIZE,
    Request,
    Scenario,
    make_photo,
    mixed_requests,
    prompt_rows,
    unseen,
)
from ovseg.settings import Settings

PHOTO = b"photo"


class FakeServer:
    """Answers after `delay_s`, or fails; remembers what it was asked."""

    def __init__(
        self, name: str, log: list[str], delay_s: float = 0.0, fails: bool = False
    ) -> None:
        self.name = name
        self.log = log
        self.delay_s = delay_s
        self.fails = fails
        self.images: list[bytes] = []
        self.open = 0

    def connect(self) -> FakeServer:
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1

    def ask(self, request: Request, timeout_s: float) -> Answer:
        self.log.append(self.name)
        self.images.append(request.image)
        time.sleep(min(self.delay_s, timeout_s))
        if self.delay_s > timeout_s:
            return Answer(timeout_s, "timeout")
        return Answer(self.delay_s, "broken" if self.fails else None)

    @property
    def target(self) -> Target:
        return Target(self.name, self.connect)


def test_servers_are_asked_in_turn_and_the_first_answer_does_not_count() -> None:
    log: list[str] = []
    servers = [FakeServer("a", log, 0.001), FakeServer("b", log, fails=True)]
    found, answers = measure_latency(
        [server.target for server in servers], Scenario("x", 1), PHOTO, 4, 60, 60
    )

    assert log == ["a", "b"] * 5
    assert [len(latency.milliseconds) for latency in found] == [4, 0]
    assert found[1].failures == ["broken"] * 4
    assert found[0].median == pytest.approx(1.0)
    assert found[1].median is None
    assert list(answers) == ["a"]
    assert [server.open for server in servers] == [0, 0]


def test_latency_stops_when_its_time_is_up_but_not_before_three_rounds() -> None:
    server = FakeServer("a", [])
    (latency,), _ = measure_latency([server.target], Scenario("x", 1), PHOTO, 1000, 0.0, 60)

    assert len(latency.milliseconds) == 3


def test_a_new_image_is_new_each_time_and_a_known_one_is_not() -> None:
    server = FakeServer("a", [])
    measure_latency([server.target], Scenario("x", 1, new_image=True), PHOTO, 3, 60, 60)
    assert len(set(server.images)) == 4
    assert all(image.startswith(PHOTO) for image in server.images)

    server.images.clear()
    measure_latency([server.target], Scenario("x", 1), PHOTO, 3, 60, 60)
    assert set(server.images) == {PHOTO}


def test_throughput_counts_answers_failures_and_what_came_too_late() -> None:
    quick = measure_throughput(FakeServer("a", [], 0.02).target, "one hot image", 3, PHOTO, 0.2)
    assert quick.milliseconds
    assert not quick.failed
    assert quick.per_second == pytest.approx(len(quick.milliseconds) / quick.seconds)

    broken = measure_throughput(
        FakeServer("a", [], 0.02, fails=True).target, "one hot image", 2, PHOTO, 0.1
    )
    assert broken.failed > 3
    assert broken.failures == ["broken"] * 3
    assert not broken.milliseconds

    # It would take longer than the time and the grace after it.
    stuck = measure_throughput(FakeServer("a", [], 5.6).target, "one hot image", 2, PHOTO, 0.1)
    assert stuck.unanswered == 2
    assert stuck.per_second == 0


def test_a_mix_has_its_share_of_new_images() -> None:
    requests = mixed_requests(PHOTO, 0.2, seed=1)
    new = sum(next(requests).image != PHOTO for _ in range(2000))

    assert 320 < new < 480


def test_prompts_lie_within_the_photo_and_more_of_them_begin_with_the_same() -> None:
    boxes = np.array(prompt_rows("box", 64))
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes >= 0).all()
    assert (boxes <= [*SIZE, *SIZE]).all()
    assert prompt_rows("box", 16) == prompt_rows("box", 64)[:16]
    assert {len(prompt_rows(scenario.kind, 2)[0]) for scenario in SCENARIOS} == {2, 4}


def test_unseen_images_still_decode_to_the_same_picture() -> None:
    import io

    from PIL import Image

    photo = make_photo()
    with Image.open(io.BytesIO(photo)) as known, Image.open(io.BytesIO(unseen(photo))) as new:
        assert known.size == SIZE
        assert np.array_equal(np.asarray(known), np.asarray(new))


def test_masks_are_compared_in_order() -> None:
    masks = np.zeros((3, 10, 10), np.uint8)
    masks[0, :, :5] = masks[1, :, :4] = 1
    full, part, empty = ({**coco_mask.encode(np.asfortranarray(mask))} for mask in masks)

    ious = mask_ious(Answer(0, rles=[full, empty]), Answer(0, rles=[part, empty]))
    assert ious == [pytest.approx(0.8), 1.0]


def test_server_timing_is_read_back() -> None:
    assert parse_server_timing("json;dur=0.61, cache;desc=hit, total;dur=31.07") == {
        "json": 0.61,
        "total": 31.07,
    }
    assert parse_server_timing("") == {}


def test_memory_of_a_process_tree_includes_its_children() -> None:
    import os
    import subprocess
    import sys

    script = "block = b'x' * 150_000_000; print('ready', flush=True); input()"
    with watch_memory(os.getpid()) as alone:
        pass  # one sample is always taken
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with watch_memory(os.getpid()) as peak:
            assert child.pid in process_tree(os.getpid())
            threading.Event().wait(0.3)
        child.kill()
    assert alone.bytes > 0
    assert peak.bytes > alone.bytes + 100_000_000


def test_a_copy_of_the_model_repository_has_other_numbers_of_instances(tmp_path: Path) -> None:
    setting = Setting(2, encoders=2, decoders=3, postprocesses=4)
    copy = write_repository(Settings().model_repository, tmp_path / "copy", setting)

    for stage, count in (("sam_encoder", 2), ("prompt_decoder", 3), ("postprocess", 4)):
        config = (copy / stage / "config.pbtxt").read_text("utf-8")
        assert f"instance_group [ {{ count: {count} " in config
        assert (copy / stage / "1" / "model.py").is_file()


def test_one_cpu_gets_no_setting_twice() -> None:
    assert len(set(settings_to_try(1))) == len(settings_to_try(1))
    assert all(setting.threads == 1 for setting in settings_to_try(1))
