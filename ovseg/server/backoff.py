"""How long to wait before a process is started again, and when to stop trying."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable

from ovseg.server.errors import ServerStartError
from ovseg.settings import Settings

_STABLE_S = 30.0
"""What has lived so long was no part of a series of crashes."""


class RestartLimitError(ServerStartError):
    """A process failed to start too often; the message carries the last cause."""


class Backoff:
    """For one kind of process: exponential, with jitter, so that many services spread out."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._streak = 0
        self._last = float("-inf")
        self._failures: deque[float] = deque()

    def after_crash(self) -> float:
        """Seconds to wait before a restart of what worked and then died; 0 for the first time."""
        now = self._clock()
        if now - self._last > _STABLE_S:
            self._streak = 0
        self._last = now
        self._streak += 1
        if self._streak == 1:
            return 0.0
        settings = self._settings
        longest = settings.restart_backoff_s * 2.0 ** min(self._streak - 2, 30)
        return min(longest, settings.restart_backoff_limit_s) * random.uniform(0.5, 1.0)

    def after_failed_start(self, cause: str) -> float:
        """Seconds to wait before another attempt to start what did not start.

        Raises:
            RestartLimitError: `restart_limit` attempts failed within `restart_window_s`.
        """
        settings = self._settings
        now = self._clock()
        self._failures.append(now)
        while now - self._failures[0] > settings.restart_window_s:
            self._failures.popleft()
        if len(self._failures) >= settings.restart_limit:
            raise RestartLimitError(
                f"gave up after {len(self._failures)} failed starts within "
                f"{settings.restart_window_s:g} s: {cause}"
            )
        return self.after_crash()
