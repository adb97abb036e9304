"""Which resource is looked at next: a queue that coalesces.

A key stands in it once, at the earliest time anybody asked for, and is never out twice at the
same time. A key that is asked for while it is out comes back after it was done, so no change
is missed and no two reconciles of one resource overlap.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keys with the times at which they are due. For the tasks of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Use `clock` for times, in seconds; monotonic."""
        self._clock = clock
        self._due: dict[Key, float] = {}
        # May hold what was asked for again at another time; `_due` is the truth.
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0
        self._out: set[Key] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: Key, delay_s: float = 0.0) -> None:
        """Ask for `key` in `delay_s` seconds, or earlier if somebody already did."""
        due = self._clock() + delay_s
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        # The count keeps the heap from comparing keys, which need no order.
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        self._changed.set()

    def oldest_wait_s(self) -> float:
        """Return how long the longest waiting key has been due, 0 if none is."""
        now = self._clock()
        return max((now - due for due in self._due.values() if due < now), default=0.0)

    async def take(self) -> Key:
        """Wait for a key that is due and not out, and take it out; `done` must follow."""
        while True:
            self._changed.clear()
            key, wait_s = self._next()
            if key is not None:
                return key
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Say that a key that was taken is no longer worked on."""
        self._out.discard(key)
        if key in self._due:
            self._count += 1
            heapq.heappush(self._heap, (self._due[key], self._count, key))
            self._changed.set()

    def _next(self) -> tuple[Key | None, float | None]:
        """Return a due key, or how long to wait for one (None: until something is added)."""
        now = self._clock()
        while self._heap:
            due, _, key = self._heap[0]
            stale = self._due.get(key) != due or key in self._out
            if not stale and due > now:
                return None, due - now
            heapq.heappop(self._heap)
            if not stale:
                del self._due[key]
                self._out.add(key)
                return key, None
        return None, None
