"""The soak's judgement: what counts as kept, and what as broken."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.expected_masks import ExpectedMasks
from loadtest.soak.exchanges import Exchange
from loadtest.soak.faults import Injected
from loadtest.soak.ledger import ACCEPTED_S, SETTLE_S, Ledger
from loadtest.soak.processes import (
    KEPT,
    KEPT_BYTES_EACH,
    SHARED_MEMORY,
    TRITON,
    Growth,
    Usage,
    growths,
    kept_of_dead,
)
from loadtest.soak.promises import broken_promises
from loadtest.soak.report import BEGIN, END, write_report
from loadtest.soak.run import LIVE, Outcome, Plan
from loadtest.soak.trials import Question, Trial
from ovseg.server.shared_memory import SHARED_MEMORY_FOLDER

QUESTION = Question("a photo", "a box")
RIGHT = [{"size": [2, 2], "counts": "04"}]
OTHER = [{"size": [2, 2], "counts": "4"}]


def nobody(_: object) -> Exchange:
    raise AssertionError("nothing is sent here")


GOOD = Trial("good", "good", nobody, question=QUESTION)
GRPC = replace(GOOD, protocol="gRPC")
BAD = Trial("bad", "bad", nobody, (422,), "body.prompt[0]")


@pytest.fixture
def ledger() -> Ledger:
    expected: ExpectedMasks[Question] = ExpectedMasks()
    expected.learn([QUESTION], lambda _: RIGHT)
    return Ledger(expected)


def answer(status: int, masks: Any = None, message: str = "", at: float = 10.0) -> Exchange:
    headers = {"retry-after": "1"} if status == 503 else {}
    return Exchange(at, at + 1.0, "answered", status, headers, masks, message)


def test_the_masks_of_the_quiet_service_are_right_and_others_are_wrong(ledger: Ledger) -> None:
    assert ledger.note_end(GOOD, answer(200, RIGHT)) == "right"
    assert ledger.note_end(GOOD, answer(200, OTHER)) == "wrong"
    assert ledger.note_end(GOOD, answer(200, [])) == "wrong"
    assert "IoU 0.00000" in ledger.wrong[0].problem


def test_a_refusal_must_have_its_status_and_name_its_field(ledger: Ledger) -> None:
    named, unnamed = '[{"loc": "body.prompt[0]"}]', '[{"loc": "body.image"}]'

    assert ledger.note_end(BAD, answer(422, None, named)) == "right"
    assert ledger.note_end(BAD, answer(422, None, unnamed)) == "wrong"
    assert ledger.note_end(BAD, answer(400, None, named)) == "wrong"
    assert ledger.note_end(BAD, answer(200, RIGHT)) == "wrong"


def test_a_busy_service_is_right_only_around_a_fault(ledger: Ledger) -> None:
    assert ledger.note_end(GOOD, answer(503)) == "wrong"
    trouble = ledger.open_trouble("a fault")
    trouble.started, trouble.ended = 20.0, 30.0

    assert ledger.note_end(GOOD, answer(503, at=18.9)) == "wrong"
    assert ledger.note_end(GOOD, answer(503, at=19.5)) == "busy"
    assert ledger.note_end(GOOD, answer(504, at=30.0 + SETTLE_S)) == "busy"
    assert ledger.note_end(GOOD, answer(503, at=30.1 + SETTLE_S)) == "wrong"


def test_a_fault_excuses_neither_another_mask_nor_a_500_nor_silence(ledger: Ledger) -> None:
    ledger.open_trouble("a fault", cuts_rest=False).started = 0.0

    assert ledger.note_end(GOOD, answer(200, OTHER)) == "wrong"
    assert ledger.note_end(GOOD, answer(500)) == "wrong"
    assert ledger.note_end(GOOD, Exchange(10.0, 70.0, "hung")) == "wrong"
    assert ledger.note_end(GOOD, Exchange(10.0, 10.1, "cut")) == "wrong"
    assert ledger.note_end(GOOD, replace(answer(503), headers={})) == "wrong"
    assert ledger.note_end(replace(GOOD, never_busy=True), answer(503)) == "wrong"


def test_callers_of_triton_itself_feel_its_crash(ledger: Ledger) -> None:
    assert ledger.note_end(GRPC, answer(500)) == "wrong"
    ledger.open_trouble("a fault").started = 0.0

    assert ledger.note_end(GRPC, answer(500)) == "busy"
    assert ledger.note_end(GRPC, Exchange(10.0, 10.1, "cut")) == "busy"
    assert ledger.note_end(GRPC, answer(200, OTHER)) == "wrong"


def test_only_connections_of_a_killed_worker_may_break(ledger: Ledger) -> None:
    trouble = ledger.open_trouble("kill -9 gateway worker", cuts_rest=True)
    trouble.started = 20.0

    assert ledger.note_end(GOOD, Exchange(19.0, 20.1, "cut")) == "cut by a kill"
    assert ledger.note_end(GOOD, Exchange(19.0, 19.9, "cut")) == "wrong"
    late = 20.1 + ACCEPTED_S
    assert ledger.note_end(GOOD, Exchange(late, late + 1, "cut")) == "wrong"


def test_who_leaves_gets_no_verdict_on_the_service(ledger: Ledger) -> None:
    assert ledger.note_end(GOOD, Exchange(1.0, 2.0, "left")) == "left"
    assert ledger.note_end(replace(GOOD, may_be_cut=True), Exchange(1.0, 2.0, "cut")) == "left"


def series(*megabytes: float, files: int = 50) -> list[tuple[float, dict[str, Usage]]]:
    return [
        (100.0 + 5 * i, {"stub": Usage(int(mb * 1e6), files, 1), SHARED_MEMORY: Usage(0, 7, 0)})
        for i, mb in enumerate(megabytes)
    ]


def growth_of(samples: Sequence[tuple[float, dict[str, Usage]]], what: str = "memory") -> Growth:
    (found,) = (g for g in growths(samples) if (g.kind, g.what) == ("stub", what))
    return found


def test_memory_that_rises_is_growth_and_a_restart_is_none() -> None:
    assert not growth_of(series(*range(200, 320, 10))).is_flat
    assert growth_of(series(*[200] * 5, 0, 20, *[205] * 5)).is_flat
    leaking = [*series(*[200] * 6), *series(*[200] * 6, files=110)]
    assert not growth_of(leaking, "files").is_flat
    assert growth_of(leaking, "memory").is_flat


def test_whole_rounds_of_faults_are_compared_so_that_what_each_round_does_is_no_growth() -> None:
    up = [100, 200, 300]
    samples = series(*up * 5)  # 15 s a round

    def found(cycle_s: float) -> Growth:
        return next(g for g in growths(samples, cycle_s) if (g.kind, g.what) == ("stub", "memory"))

    assert (found(15.0).first, found(15.0).last) == (200e6, 200e6)
    samples += [(after_s + 75.0, sample) for after_s, sample in series(200, 300, 400)]
    assert (found(15.0).first, found(15.0).last) == (200e6, 300e6)
    assert found(1000.0).first == 200e6  # Too short for two rounds: thirds.


def test_the_time_of_warming_up_is_not_compared_and_few_samples_say_nothing() -> None:
    early = [(1.0 * i, {"stub": Usage(0, 1, 1)}) for i in range(20)]
    assert growth_of([*early, *series(*[200] * 12)]).first == 200e6
    assert growths(series(*[200] * 8)) == []


def test_of_each_stage_that_died_a_region_may_be_kept_and_no_more() -> None:
    def kept(memory_bytes: int, regions: int, dead: int) -> dict[str, bool]:
        few, many = Usage(0, 0, 0), Usage(memory_bytes, regions, dead)
        samples = [(100.0 + i, {KEPT: few if i < 6 else many}) for i in range(12)]
        return {growth.what: growth.is_flat for growth in growths(samples)}

    assert kept(5 * KEPT_BYTES_EACH, 5, 5) == {"memory": True, "files": True}
    assert kept(5 * KEPT_BYTES_EACH + 1, 5, 5) == {"memory": False, "files": True}
    assert kept(1, 1, 0) == {"memory": False, "files": False}
    assert kept(0, 0, 5) == {"memory": True, "files": True}


def test_triton_may_hold_on_to_what_a_burst_took_but_to_no_more() -> None:
    def is_flat(kind: str, megabytes: int) -> bool:
        samples = [
            (100.0 + i, {kind: Usage(int(megabytes * 1e6) * (i > 5), 1, 1)}) for i in range(12)
        ]
        return next(growth.is_flat for growth in growths(samples) if growth.what == "memory")

    assert [is_flat(TRITON, megabytes) for megabytes in (49, 95, 97)] == [True, True, False]
    assert [is_flat("supervisor", megabytes) for megabytes in (47, 49)] == [True, False]


def test_what_is_kept_of_the_dead_is_shared_memory_whose_file_is_gone() -> None:
    region = SHARED_MEMORY_FOLDER / f"test_of_the_soak_{os.getpid()}"
    region.write_bytes(bytes(1 << 20))
    try:
        with region.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped.write(b"x" * (1 << 20))
            before = kept_of_dead(psutil.Process())
            region.unlink()
            after = kept_of_dead(psutil.Process())
    finally:
        region.unlink(missing_ok=True)

    assert after.files == before.files + 1
    assert after.memory_bytes == before.memory_bytes + (1 << 20)


def outcome(ledger: Ledger) -> Outcome:
    plan = Plan(seconds=60.0, fault_every_s=10.0, callers=1, pause_s=1.0, seed=1, faults=[])
    return Outcome(plan, ledger, seconds=60.0, exit_code=0)


def test_every_kind_of_broken_promise_is_a_line(ledger: Ledger) -> None:
    kept = outcome(ledger)
    ledger.note_sent(GOOD)
    ledger.note_end(GOOD, answer(200, RIGHT))
    assert broken_promises(kept) == []

    slow = [Injected("kill -9 x", 1.0, "killed 7", seconds) for seconds in (9.9, 10.1, None)]
    assert len(broken_promises(replace(kept, injected=slow))) == 2
    (grown,) = broken_promises(replace(kept, samples=series(*range(200, 320, 10))))
    assert grown.startswith("memory of stub grew from 215,000,000 to ")
    (code,) = broken_promises(replace(kept, exit_code=-9))
    assert "exit code -9" in code
    (left,) = broken_promises(replace(kept, left_behind=["/dev/shm/ovseg_1_x"]))
    assert "left behind /dev/shm/ovseg_1_x" in left
    ledger.note_sent(GOOD)
    (lost,) = broken_promises(kept)
    assert lost == "2 requests were sent, but 1 ended"
    ledger.note_end(GOOD, answer(500, message="boom"))
    (wrong,) = broken_promises(kept)
    assert "1 of 2 requests ended wrongly" in wrong
    assert wrong.endswith("good: status 500: boom")


def test_slow_answers_of_the_live_check_are_a_broken_promise(ledger: Ledger) -> None:
    live = Trial(LIVE, "good", nobody)
    ledger.note_sent(live)
    ledger.note_end(live, answer(200))

    (line,) = broken_promises(outcome(ledger))
    assert line == "GET /health/live took 1000 ms (99th percentile)"


def test_what_ends_after_ctrl_c_is_unfinished(ledger: Ledger) -> None:
    ledger.note_sent(GOOD)
    ledger.close()
    ledger.note_end(GOOD, Exchange(1.0, 2.0, "cut"))

    assert (ledger.sent, ledger.unfinished) == (0, 1)
    assert broken_promises(replace(outcome(ledger), interrupted=True)) == []


def test_the_report_replaces_the_section_between_its_markers(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.note_sent(BAD)
    ledger.note_end(BAD, answer(422, None, "body.prompt[0]"))
    found = replace(outcome(ledger), injected=[Injected("kill -9 x", 60.0, "killed | 7", 1.25)])
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    write_report(found, document)
    write_report(found, alone := tmp_path / "new" / "alone.md")
    text = document.read_text("utf-8")

    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| bad: bad | 1 |  | 1 |" in text
    assert "| 1.0 | kill -9 x | killed / 7 | 1.2 |" in text
    assert "**Every promise was kept.**" in text
    assert alone.read_text("utf-8").startswith("# Soak\n")
    assert BEGIN in alone.read_text("utf-8")
