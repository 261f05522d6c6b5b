"""`ovseg bench instances`: how many threads an engine and how many instances a stage should have.

Every setting is a service of its own, with a copy of the model repository whose `instance_group`s
differ; services are measured in turn, several rounds, so that what disturbs the machine disturbs
all of them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ovseg.bench.callers import RestCaller
from ovseg.bench.measuring import Target, measure_throughput
from ovseg.bench.memory import watch_memory
from ovseg.bench.results import quantile
from ovseg.bench.workload import make_photo
from ovseg.server.service import running_service
from ovseg.settings import Settings

_COUNT = re.compile(r"(instance_group \[ \{ count: )\d+")


@dataclass(frozen=True)
class Setting:
    """Threads of each engine, and instances of the stages that compute."""

    threads: int
    encoders: int = 1
    decoders: int = 1
    postprocesses: int = 1

    def __str__(self) -> str:
        return (
            f"{self.threads} threads, encoder ×{self.encoders}, decoder ×{self.decoders}, "
            f"postprocess ×{self.postprocesses}"
        )


@dataclass
class Cell:
    """One setting, one mix, one number of clients."""

    setting: Setting
    mix: str
    clients: int
    per_second: list[float] = field(default_factory=list)
    """Answers a second, one value a round."""
    p95_ms: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True)
class InstancesResult:
    """All cells, and what each setting's service took of memory."""

    cells: list[Cell]
    peak_memory_bytes: dict[str, int]


def settings_to_try(cpus: int) -> tuple[Setting, ...]:
    """What is worth a comparison on so many CPUs."""
    tried = (
        Setting(cpus),
        Setting(cpus, postprocesses=2),
        Setting(cpus, decoders=2),
        Setting(max(cpus // 2, 1), decoders=2),
        Setting(max(cpus // 2, 1), encoders=2, decoders=2),
    )
    return tuple(dict.fromkeys(tried))


def measure_instances(
    base: Settings,
    tried: tuple[Setting, ...],
    clients: tuple[int, ...],
    mixes: tuple[str, ...],
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
) -> InstancesResult:
    """Measure every setting; one service runs at a time, and each runs in every round.

    Args:
        base: which model, and where.
        tried: settings, in the order of the rows.
        clients: numbers of clients.
        mixes: names of `MIXES`.
        seconds: for each cell and round.
        rounds: how often everything is repeated.
        say: a line for people.

    Raises:
        ServerStartError: a service does not start.
    """
    cells = {
        (setting, mix, count): Cell(setting, mix, count)
        for setting in tried
        for mix in mixes
        for count in clients
    }
    peaks: dict[str, int] = {}
    for number in range(rounds):
        for setting in tried:
            say(f"round {number + 1} of {rounds}: {setting}")
            _run(base, setting, cells, seconds, peaks)
    return InstancesResult(list(cells.values()), peaks)


def _run(
    base: Settings,
    setting: Setting,
    cells: dict[tuple[Setting, str, int], Cell],
    seconds: float,
    peaks: dict[str, int],
) -> None:
    photo = make_photo()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovseg-bench-")))
        repository = write_repository(base.model_repository, folder / "repository", setting)
        environment = {
            "OVSEG_MODEL": base.model,
            "OVSEG_MODEL_DIR": str(base.model_dir),
            "OVSEG_MODEL_REPOSITORY": str(repository),
            "OVSEG_THREADS": str(setting.threads),
        }
        service = stack.enter_context(running_service(environment, timeout_s=600.0))
        target = Target(str(setting), lambda: RestCaller(service.base_url))
        with watch_memory(service.process.pid) as peak:
            for (tried, mix, clients), cell in cells.items():
                if tried != setting:
                    continue
                found = measure_throughput(target, mix, clients, photo, seconds)
                cell.per_second.append(found.per_second)
                cell.failed += found.failed
                if (p95 := quantile(found.milliseconds, 0.95)) is not None:
                    cell.p95_ms.append(p95)
        peaks[str(setting)] = max(peaks.get(str(setting), 0), peak.bytes)


def write_repository(source: Path, target: Path, setting: Setting) -> Path:
    """A copy of the model repository with other numbers of instances."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for stage, count in (
        ("sam_encoder", setting.encoders),
        ("prompt_decoder", setting.decoders),
        ("postprocess", setting.postprocesses),
    ):
        file = target / stage / "config.pbtxt"
        text, changes = _COUNT.subn(rf"\g<1>{count}", file.read_text("utf-8"))
        if changes != 1:
            raise ValueError(f"{file} has {changes} instance groups")
        file.write_text(text, "utf-8")
    return target
