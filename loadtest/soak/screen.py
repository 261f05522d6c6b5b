"""How a soak goes, while it goes: a moving table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from loadtest.soak.processes import SHARED_MEMORY, WHOLE
from loadtest.soak.run import Soak

_LINE_EVERY_S = 30.0


class Screen:
    """Shows a running soak on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._next_line_s = 0.0

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(f"{time.strftime('%H:%M:%S')} {line}", markup=False)

    def shown(self, soak: Soak) -> Callable[[float], None]:
        """What shows how far `soak` is, given the seconds since its start."""

        def show(elapsed_s: float) -> None:
            numbers = _numbers(soak, elapsed_s)
            if self._live is not None:
                self._live.update(_table(numbers))
            elif elapsed_s >= self._next_line_s:
                self._next_line_s = elapsed_s + _LINE_EVERY_S
                self.say(", ".join(f"{name} {value}" for name, value in numbers))

        return show

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def _numbers(soak: Soak, elapsed_s: float) -> list[tuple[str, str]]:
    ledger, plan = soak.outcome.ledger, soak.outcome.plan
    left_s = max(plan.seconds - elapsed_s, 0.0)
    found = [
        ("time left", "{}:{:02}".format(*divmod(round(left_s), 60))),
        ("sent", str(ledger.sent)),
        ("answered", str(ledger.answered)),
        ("right", str(ledger.total("right"))),
        ("busy", str(ledger.total("busy"))),
        ("wrong", str(ledger.total("wrong"))),
        ("faults", str(len(soak.outcome.injected))),
    ]
    sample = soak.watch.latest
    if sample:
        found += [
            ("memory", f"{sample[WHOLE].memory_bytes / 1e6:.0f} MB"),
            ("files", str(sample[WHOLE].files)),
            ("/dev/shm regions", str(sample[SHARED_MEMORY].files)),
        ]
    return found


def _table(numbers: list[tuple[str, str]]) -> Table:
    table = Table(*(name for name, _ in numbers), box=None, pad_edge=False)
    table.add_row(*(value for _, value in numbers))
    return table
