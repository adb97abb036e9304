"""What histograms gathered in the last minute, from totals read now and then. Pure.

Histograms count from a process's start, while people ask how it is now: the difference between
two readings says that.
"""

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

WINDOW_S = 60.0
"""How far back is looked: the span that the observed shares have."""

INTERVAL_S = 10.0
"""Between two readings; what is said covers the last 50 to 60 s."""

Counts = tuple[int, ...]
"""Observations per bucket since the start, not cumulated; the last bucket has no upper bound."""


@dataclass(slots=True)
class RecentCounts:
    """Readings of histograms by key. Times are monotonic seconds.

    Memory: one reading per key and `INTERVAL_S`; readings that are equal are one object.
    """

    _readings: dict[Hashable, list[tuple[float, Counts]]] = field(default_factory=dict)

    def read(self, key: Hashable, counts: Counts, now: float) -> None:
        """Take a reading; a key that was never read had nothing one interval ago."""
        known = self._readings.setdefault(key, [(now - INTERVAL_S, (0,) * len(counts))])
        last = known[-1][1]
        known.append((now, last if last == counts else counts))
        while known[0][0] < now - WINDOW_S:
            del known[0]

    def since(self, key: Hashable, counts: Counts, now: float) -> Counts:
        """Return what `counts` gathered within the window; all of it if the key is new.

        A total that fell (the series was dropped and began again) counts whole.
        """
        known = self._readings.get(key)
        if known is None:
            return counts
        # Where nobody read for a whole window, the last reading is as far back as there is.
        begin = next((was for at, was in known if at >= now - WINDOW_S), known[-1][1])
        if any(a < b for a, b in zip(counts, begin, strict=True)):
            return counts
        return tuple(a - b for a, b in zip(counts, begin, strict=True))

    def keep_only(self, keys: set[Hashable]) -> None:
        """Forget all other keys."""
        for key in self._readings.keys() - keys:
            del self._readings[key]


def quantile(bounds: Sequence[float], counts: Counts, ratio: float) -> float | None:
    """Estimate a quantile from buckets: linear within the bucket, as Prometheus does.

    Args:
        bounds: Upper bounds of all buckets but the last, rising.
        counts: Observations per bucket, `[len(bounds) + 1]`.
        ratio: In (0, 1].

    Returns:
        In the unit of `bounds`; at most the largest of them. None without observations.
    """
    cumulated = list(accumulate(counts))
    if not cumulated or not cumulated[-1]:
        return None
    rank = ratio * cumulated[-1]
    bucket = bisect_left(cumulated, rank)
    if bucket >= len(bounds):
        return bounds[-1]
    low = bounds[bucket - 1] if bucket else 0.0
    before = cumulated[bucket - 1] if bucket else 0
    return low + (bounds[bucket] - low) * (rank - before) / counts[bucket]
