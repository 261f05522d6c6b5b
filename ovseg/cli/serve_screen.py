"""How `ovseg serve` shows what happens: on a terminal, as plain lines, or as JSON for scripts."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ovseg.cli.failing import show_error
from ovseg.cli.serve_status import Status
from ovseg.server.supervisor import READY_PREFIX

_STEP_ENDS_WITH = " …"
"""A line of something that goes on, and is of no interest once it is done."""


class Screen(Protocol):
    """Where the lines go; threads of the supervisor call it."""

    def say(self, line: str) -> None:
        """Show what happens, in one line."""

    def announce(self, status: Status, example: str) -> None:
        """Show that requests are answered; `example` is one to paste, or ""."""

    def end(self, error: str = "") -> None:
        """Nothing comes after this; `error` is what ended it."""


def choose_screen(as_json: bool) -> Screen:
    """What fits standard output: `--json`, a terminal, or anything else."""
    if as_json:
        return JsonLines()
    return Terminal() if sys.stdout.isatty() else PlainLines()


class PlainLines:
    """Lines without colour, for files, pipes and containers' logs."""

    def say(self, line: str) -> None:
        """See `Screen`."""
        print(line, flush=True)

    def announce(self, status: Status, example: str) -> None:
        """See `Screen`; the first line starts with `READY_PREFIX`, which scripts wait for."""
        lines = [f"{READY_PREFIX}{status.seconds:.1f} s"]
        lines += [f"  {name:<8} {value}" for name, value in status.rows()]
        if example:
            lines += ["", "Try it (Ctrl-C stops the server):", example]
        self.say("\n".join(lines))

    def end(self, error: str = "") -> None:
        """See `Screen`."""
        if error:
            show_error(error)


class JsonLines:
    """One object a line: its `event` is message, ready, error or stopped."""

    def say(self, line: str) -> None:
        """See `Screen`."""
        self._write({"event": "message", "message": line})

    def announce(self, status: Status, example: str) -> None:
        """See `Screen`."""
        self._write(status.as_json())

    def end(self, error: str = "") -> None:
        """See `Screen`."""
        self._write({"event": "error", "message": error} if error else {"event": "stopped"})

    def _write(self, event: object) -> None:
        print(orjson.dumps(event).decode(), flush=True)


class Terminal:
    """Colours (but for NO_COLOR), and the step that goes on with its time until it is ready."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting")
        self._progress.start()

    def say(self, line: str) -> None:
        """See `Screen`."""
        if line.endswith(_STEP_ENDS_WITH) and not self._progress.finished:
            self._progress.update(self._task, description=line.removesuffix(_STEP_ENDS_WITH))
        else:
            self._console.print(line, markup=False)

    def announce(self, status: Status, example: str) -> None:
        """See `Screen`."""
        self._stop_spinner()
        self._console.print(f"{READY_PREFIX}{status.seconds:.1f} s", style="bold green")
        for name, value in status.rows():
            self._console.print(Text.assemble("  ", (f"{name:<8}", "cyan"), " ", value))
        if example:
            self._console.print("\nTry it (Ctrl-C stops the server):", style="dim")
            self._console.print(example, markup=False)

    def end(self, error: str = "") -> None:
        """See `Screen`."""
        self._stop_spinner()
        if error:
            show_error(error)

    def _stop_spinner(self) -> None:
        self._progress.update(self._task, total=1, completed=1)
        with suppress(OSError):  # The terminal may be gone.
            self._progress.stop()
