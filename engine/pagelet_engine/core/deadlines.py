"""Which sequences have run out of time: a heap, so that asking costs nothing while none has."""

import heapq
from dataclasses import dataclass

from pagelet_engine.core.sequence import Sequence, SequenceState


@dataclass(frozen=True, slots=True)
class Expired:
    """A sequence whose time is over."""

    seq: Sequence
    while_queued: bool
    """Whether it waited too long for its first step; False if its own deadline passed."""


class Deadlines:
    """Deadlines and queue time-outs of sequences that have not ended; `now` never falls."""

    def __init__(self, queue_timeout_s: float | None) -> None:
        """Start with none.

        Args:
            queue_timeout_s: Longest wait from arrival to the first step; None for no limit.
        """
        self._queue_timeout_s = queue_timeout_s
        self._heap: list[tuple[float, int, Expired]] = []
        self._num_pushed = 0
        self._num_stale = 0

    @property
    def next_at(self) -> float:
        """When the next one may be over, infinity for never; too early if that one has ended."""
        return self._heap[0][0] if self._heap else float("inf")

    def watch(self, seq: Sequence) -> None:
        """Remember when the time of `seq` is over."""
        if seq.deadline is not None:
            self._push(seq.deadline, Expired(seq, while_queued=False))
        if self._queue_timeout_s is not None:
            self._push(seq.arrived_at + self._queue_timeout_s, Expired(seq, while_queued=True))

    def note_end(self, seq: Sequence) -> None:
        """Let go of a sequence that has ended, soon if not at once."""
        self._num_stale += (seq.deadline is not None) + (self._queue_timeout_s is not None)
        # Entries of ended sequences hold their tokens; there are never more of them than others.
        if self._num_stale > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if not _is_void(entry[2])]
            heapq.heapify(self._heap)
            self._num_stale = 0

    def pop_expired(self, now: float) -> list[Expired]:
        """Return the sequences whose time is over at `now`, each once."""
        expired: dict[int, Expired] = {}
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)[2]
            if not _is_void(item):
                expired.setdefault(item.seq.seq_id, item)
        return list(expired.values())

    def _push(self, at: float, item: Expired) -> None:
        self._num_pushed += 1  # orders entries of the same moment
        heapq.heappush(self._heap, (at, self._num_pushed, item))


def _is_void(item: Expired) -> bool:
    if item.seq.state is SequenceState.FINISHED:
        return True
    # Once admitted, a sequence no longer waits for its first step, preempted or not.
    return item.while_queued and item.seq.num_cached_tokens is not None
