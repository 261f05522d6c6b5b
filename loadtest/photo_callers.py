"""Callers who ask about photos of a fixed set, at random, and check every mask."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from loadtest.known_answer import KnownAnswer, pause_after
from loadtest.soak.exchanges import JSON_HEADERS, Addresses, Exchange, post
from ovseg.bench.workload import Request, make_photo, prompt_rows, unseen


class PhotoCallers:
    """Each asks one request after the other, each on a new connection, with a token of its own."""

    def __init__(self, addresses: Addresses, photos: int, callers: int, seed: int = 1) -> None:
        """Learn the right masks.

        Args:
            addresses: where to ask.
            photos: different files of the same picture.
            callers: how many ask at the same time.
            seed: of what they ask.

        Raises:
            ValueError: the service does not answer.
        """
        self._addresses = addresses
        rows = prompt_rows("box", 1)
        self._bodies = [
            Request(unseen(make_photo()), "box", rows, picture=False).body() for _ in range(photos)
        ]
        self._numbers = [random.Random(seed * 1000 + k) for k in range(callers)]
        self._answer = KnownAnswer(post(addresses, self._bodies[0]))
        self.wrong = self._answer.wrong
        """Masks other than those of the first answer."""

    def ask_each_once(self, photos: int | None = None) -> None:
        """Ask about all photos, or the first few, once."""
        with ThreadPoolExecutor(len(self._numbers)) as pool:
            list(pool.map(lambda k: self._ask(0, k), range(photos or len(self._bodies))))

    def ask_for(self, seconds: float, photos: int | None = None) -> list[Exchange]:
        """Ask for a while, about all photos or the first few; wait for the last answers."""
        with self.asking(photos) as exchanges:
            time.sleep(seconds)
        return exchanges

    @contextmanager
    def asking(self, photos: int | None = None) -> Iterator[list[Exchange]]:
        """Ask while the block runs; then wait for the last answers. Yields all exchanges."""
        exchanges: list[Exchange] = []
        over = threading.Event()

        def call(caller: int) -> None:
            while not over.is_set():
                photo = self._numbers[caller].randrange(photos or len(self._bodies))
                found = self._ask(caller, photo)
                exchanges.append(found)
                over.wait(pause_after(found))

        threads = [threading.Thread(target=call, args=(k,)) for k in range(len(self._numbers))]
        for thread in threads:
            thread.start()
        try:
            yield exchanges
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask(self, caller: int, photo: int) -> Exchange:
        # The token is what nginx tells callers apart by; the gateways here ask for none.
        headers = {**JSON_HEADERS, "Authorization": f"Bearer caller-{caller}"}
        return self._answer.checked(post(self._addresses, self._bodies[photo], headers))
