"""Stages tell the gateway how long they took; `Server-Timing` tells the caller."""

from __future__ import annotations

import re

import pytest
from ovseg_gateway.context import RequestContext

from ovseg.stage_reports import StageReporter, StageReports, embedding_was_cached

# https://www.w3.org/TR/server-timing/: metrics of a token and parameters, separated by commas.
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HEADER = re.compile(rf"{TOKEN}(;{TOKEN}={TOKEN})*(, {TOKEN}(;{TOKEN}={TOKEN})*)*")


def test_each_request_gets_its_own_reports() -> None:
    reports = StageReports()
    first, second = reports.open_request(), reports.open_request()
    StageReporter("sam_encoder").report(first, 1.5)
    StageReporter("prompt_decoder").report(second, 0.25)
    StageReporter("prompt_decoder").report(first, 0.5)

    assert reports.close_request(second) == {"prompt_decoder": 0.25}
    assert reports.close_request(first) == {"sam_encoder": 1.5, "prompt_decoder": 0.5}
    reports.close()


def test_reports_that_come_too_late_are_dropped() -> None:
    reports = StageReports()
    timed_out = reports.open_request()
    assert reports.close_request(timed_out) == {}
    StageReporter("postprocess").report(timed_out, 1.0)
    following = reports.open_request()

    assert reports.close_request(following) == {}
    reports.close()


def test_nobody_to_report_to_is_no_failure() -> None:
    reporter = StageReporter("postprocess")
    reports = StageReports()
    correlation_id = reports.open_request()
    reports.close()

    reporter.report(correlation_id, 1.0)
    reporter.report(0, 1.0)  # a gRPC client's own call
    reporter.report(7, 1.0)  # a gRPC client's sequence
    reporter.report("sequence", 1.0)


def test_a_gateway_that_does_not_read_holds_no_stage_up_for_long() -> None:
    reports = StageReports()
    correlation_id = reports.open_request()
    for _ in range(50):  # more than the socket's queue holds
        StageReporter("postprocess").report(correlation_id, 1.0)

    # What arrived: a stage that runs several times for a request takes all of them.
    assert 1.0 <= reports.close_request(correlation_id)["postprocess"] < 50.0


def test_two_gateways_do_not_get_each_others_reports() -> None:
    ours, theirs = StageReports(), StageReports()
    mine, other = ours.open_request(), theirs.open_request()
    StageReporter("visualize").report(mine, 1.0)

    assert theirs.close_request(other) == {}
    assert ours.close_request(mine) == {"visualize": 1.0}
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("stages", "was_cached"),
    [
        (("preprocess", "sam_encoder", "prompt_decoder"), False),
        (("preprocess", "prompt_decoder"), False),  # Triton's TensorRT backend reports nothing.
        (("prompt_decoder",), True),
        (("sam_encoder", "prompt_decoder"), True),  # Encodes parts of a known image.
        (("preprocess",), None),
        ((), None),
    ],
)
def test_preprocessing_tells_whether_an_embedding_was_cached(
    stages: tuple[str, ...], was_cached: bool | None
) -> None:
    assert embedding_was_cached(dict.fromkeys(stages, 0.1)) is was_cached


def context(**durations: float) -> RequestContext:
    return RequestContext(durations=dict(durations))


def test_the_time_in_triton_is_broken_down_into_stages_and_the_rest() -> None:
    asked = context(json=0.001, triton=0.5)
    asked.note_stages({"preprocess": 0.02, "sam_encoder": 0.3, "prompt_decoder": 0.1})

    header = asked.server_timing()
    assert HEADER.fullmatch(header)
    entries = dict(entry.split(";", 1) for entry in header.split(", "))
    assert list(entries) == [
        "json", "queue", "preprocess", "encoder", "decoder", "cache", "total",
    ]  # fmt: skip
    assert entries["cache"] == "desc=miss"
    assert entries["queue"] == "dur=80.00"
    assert entries["encoder"] == "dur=300.00"


def test_a_cached_embedding_is_a_hit_and_has_no_encoder_time() -> None:
    asked = context(triton=0.5)
    asked.note_stages({"prompt_decoder": 0.1, "postprocess": 0.01}, waited_s=0.2)

    header = asked.server_timing()
    assert "cache;desc=hit" in header
    assert "encoder" not in header
    assert "wait;dur=200.00" in header
    assert "queue;dur=190.00" in header


def test_where_no_stage_reports_the_whole_call_is_one_part() -> None:
    asked = context(triton=0.5)
    asked.note_stages({})

    assert "triton;dur=500.00" in asked.server_timing()
    assert "cache" not in asked.server_timing()
