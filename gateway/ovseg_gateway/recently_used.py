"""A bounded store that forgets what was used least recently."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentlyUsed(Generic[Value]):
    """Values by name, up to a number of bytes; of one process, in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        """Start empty; with a capacity of 0 it stays so."""
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    def get(self, name: str) -> Value | None:
        """What was put under that name, if it is still held; counts as use."""
        if name not in self._values:
            return None
        self._values.move_to_end(name)
        return self._values[name][0]

    def put(self, name: str, value: Value, size_bytes: int) -> bool:
        """Hold a value, and forget others for it; whether there is room for it at all."""
        if size_bytes > self._capacity_bytes:
            return False
        if name in self._values:
            self._held_bytes -= self._values.pop(name)[1]
        self._values[name] = value, size_bytes
        self._held_bytes += size_bytes
        while self._held_bytes > self._capacity_bytes:
            _, (_, size_of_oldest) = self._values.popitem(last=False)
            self._held_bytes -= size_of_oldest
        return True
