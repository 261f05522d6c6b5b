"""Many requests, some of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from ovseg_client.prediction import Prediction
from ovseg_client.progress import Progress, reporting
from ovseg_client.request import PredictArguments
from ovseg_client.waiting import run_blocking

_WINDOW = 2
"""Items for each request that may run: while the first is slow, others can be done already."""


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What became of one item of `predict_many`."""

    index: int
    """The item's place among the items, from 0."""
    item: PredictArguments
    prediction: Prediction | None = None
    error: Exception | None = None
    """Why there is no prediction: what `predict` raised."""

    def get(self) -> Prediction:
        """The prediction.

        Raises:
            Exception: `error`, if there is none.
        """
        if self.prediction is None:
            raise self.error or RuntimeError("neither prediction nor error")
        return self.prediction


Ask = Callable[[int, PredictArguments], Coroutine[Any, Any, BatchResult]]
_Started = TypeVar("_Started")


class Workers(Protocol[_Started]):
    """Asks for items beside the caller, a bounded number at once."""

    def start(self, index: int, item: PredictArguments) -> _Started:
        """Begin, at once or when others have ended."""
        ...

    async def result(self, started: _Started) -> BatchResult:
        """Wait for the end."""
        ...

    async def stop(self) -> None:
        """Begin nothing more, and leave what runs."""


async def results_in_order(
    items: Iterable[PredictArguments],
    workers: Workers[_Started],
    concurrency: int,
    progress: Progress,
) -> AsyncGenerator[BatchResult, None]:
    """A result for each item, in their order; items are taken as results are."""
    total = len(items) if isinstance(items, Sized) else None
    numbered = enumerate(items)
    started: deque[_Started] = deque()
    with reporting(progress) as report:
        try:
            while True:
                for index, item in islice(numbered, _WINDOW * concurrency - len(started)):
                    started.append(workers.start(index, item))
                if not started:
                    return
                result = await workers.result(started.popleft())
                report(result.index + 1, total)
                yield result
        finally:
            await workers.stop()


def check_concurrency(concurrency: int) -> None:
    """Raises ValueError for a number of requests below 1."""
    if concurrency < 1:
        raise ValueError(f"concurrency must be positive, not {concurrency}")


_Job = tuple["Future[BatchResult]", int, PredictArguments]


class Threads:
    """Workers for `Client`.

    They are daemons, so that nobody who presses Ctrl-C waits for answers.
    """

    def __init__(self, ask: Ask, concurrency: int) -> None:
        self._ask = ask
        self._concurrency = concurrency
        self._threads = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    def start(self, index: int, item: PredictArguments) -> Future[BatchResult]:
        if self._threads < self._concurrency:
            self._threads += 1
            threading.Thread(target=self._run, name="ovseg predict_many", daemon=True).start()
        future: Future[BatchResult] = Future()
        self._jobs.put((future, index, item))
        return future

    async def result(self, started: Future[BatchResult]) -> BatchResult:
        return started.result()

    async def stop(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, index, item = job
            try:
                future.set_result(run_blocking(self._ask(index, item)))
            except BaseException as error:
                future.set_exception(error)


class Tasks:
    """Workers for `AsyncClient`."""

    def __init__(self, ask: Ask, concurrency: int) -> None:
        self._ask = ask
        self._running = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[BatchResult]] = set()

    def start(self, index: int, item: PredictArguments) -> asyncio.Task[BatchResult]:
        task = asyncio.create_task(self._run(index, item))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def result(self, started: asyncio.Task[BatchResult]) -> BatchResult:
        return await started

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, index: int, item: PredictArguments) -> BatchResult:
        async with self._running:
            return await self._ask(index, item)
