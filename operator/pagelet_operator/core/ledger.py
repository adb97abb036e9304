"""From counters, read now and then, to what happened in between.

A counter only says something by its difference to an earlier reading of the same process. So
the first reading of a source counts nothing; a counter that fell was reset by a restart and
counts from 0; a revision that a known source had not named before begins at 0. Differences are
kept as entries of a log, bounded per revision: old entries are merged in pairs, so that a long
quiet step keeps its evidence and a busy one costs no more memory. Who waits for a first token is
no counter and enters no log: a window has those of the newest reading, once, until they end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pagelet_operator.core.window import Histogram, Window

MAX_ENTRIES = 64
"""Per revision, about 40 KB. At a reading each 5 s the last minutes are exact to a reading, the
hours before in ever longer entries."""

KEEP_S = 6 * 3600.0
"""Older entries are dropped: no step waits for so long."""

FRESH_S = 15.0
"""A reading older than this says no longer who waits: three of the usual ones."""

Key = tuple[str, str]
"""A served model's name, and a revision."""

_NO_COUNTS = Window(since=0.0, until=0.0)


@dataclass(slots=True)
class Ledger:
    """The log of every revision. Times are Unix seconds and must not fall."""

    _last: dict[tuple[str, Key], Window] = field(default_factory=dict)
    _read_at: dict[str, float] = field(default_factory=dict)
    _logs: dict[Key, list[Window]] = field(default_factory=dict)

    def read(self, source: str, counts: Mapping[Key, Window], now: float) -> None:
        """Take what one process has counted since it started, by revision.

        Args:
            source: Which process; its address.
            counts: All revisions it names; spans mean nothing here. Samples of queues, caches
                and requests in flight are no counters: they are those of this one reading.
            now: When its round of readings began; the same for all sources of a round.
        """
        before = self._read_at.get(source)
        self._read_at[source] = now
        for key in [key for known, key in self._last if known == source and key not in counts]:
            del self._last[source, key]
        for key, count in counts.items():
            last = self._last.get((source, key), _NO_COUNTS)
            self._last[source, key] = count
            if before is not None:
                grown = _increase(last, count)
                entry = replace(grown, since=before, until=now, waiting=_NO_COUNTS.waiting)
                self._append(key, entry)

    def forget(self, source: str) -> None:
        """A process is gone; if its address speaks again, that is another one."""
        self._read_at.pop(source, None)
        for known in [known for known in self._last if known[0] == source]:
            del self._last[known]

    def expire(self, now: float) -> None:
        """Drop what is too old for any step."""
        for key, log in list(self._logs.items()):
            log[:] = [entry for entry in log if entry.until > now - KEEP_S]
            if not log:
                del self._logs[key]

    def window(self, key: Key, since: float) -> Window | None:
        """Return all that happened in entries that began at `since` or later; None if nothing.

        It may begin later than asked for; it never reaches further back.
        """
        entries = self.entries(key, since)
        return replace(_sum(entries), waiting=self._waiting(key)) if entries else None

    def entries(self, key: Key, since: float) -> list[Window]:
        """Return the same, entry by entry, in order of time."""
        return [entry for entry in self._logs.get(key, ()) if entry.since >= since]

    def _waiting(self, key: Key) -> Histogram:
        """Return who waits by the newest reading of each source."""
        newest, total = max(self._read_at.values(), default=0.0), _NO_COUNTS.waiting
        for (source, named), last in self._last.items():
            is_fresh = self._read_at[source] >= newest - FRESH_S
            # Buckets of a gateway of another version are left out.
            fits = not total.total or last.waiting.bounds == total.bounds
            if named == key and is_fresh and fits:
                total = total + last.waiting
        return total

    def _append(self, key: Key, entry: Window) -> None:
        if _is_empty(entry) and key not in self._logs:
            return
        log = self._logs.setdefault(key, [])
        # Sources of one round are read side by side: together they are one entry.
        if log and log[-1].until == entry.until:
            log[-1] = log[-1] + entry
        else:
            log.append(entry)
        if len(log) > MAX_ENTRIES:
            log[:] = _thinned(log)


def _sum(entries: list[Window]) -> Window:
    total = entries[0]
    for entry in entries[1:]:
        total = total + entry
    return total


def _thinned(log: list[Window]) -> list[Window]:
    """Merge the older half in pairs."""
    half = len(log) // 2 // 2 * 2
    pairs = zip(log[:half:2], log[1:half:2], strict=True)
    return [*(first + second for first, second in pairs), *log[half:]]


def _is_empty(entry: Window) -> bool:
    return not any((*_flat(entry), entry.in_flight_sum, *_samples(entry)))


def _increase(last: Window, now: Window) -> Window:
    """Return what was counted between two readings of one process."""
    if _fell(last, now):
        return now
    tokens = now.output_tokens
    if tokens is not None and last.output_tokens is not None:
        tokens -= last.output_tokens
    return replace(
        now,
        requests=now.requests - last.requests,
        errors=now.errors - last.errors,
        refusals=now.refusals - last.refusals,
        timeouts=now.timeouts - last.timeouts,
        fallbacks=now.fallbacks - last.fallbacks,
        abandoned=now.abandoned - last.abandoned,
        ttft=_grown(last.ttft, now.ttft),
        itl=_grown(last.itl, now.itl),
        prompt_lengths=_grown(last.prompt_lengths, now.prompt_lengths),
        output_lengths=_grown(last.output_lengths, now.output_lengths),
        request_seconds=now.request_seconds - last.request_seconds,
        output_tokens=tokens,
    )


def _fell(last: Window, now: Window) -> bool:
    """Whether any counter is below its earlier value: then the process began anew."""
    histograms = zip(_histograms(last), _histograms(now), strict=True)
    if any(_shape_changed(earlier, later) for earlier, later in histograms):
        return True
    return any(later < earlier for earlier, later in zip(_flat(last), _flat(now), strict=True))


def _flat(window: Window) -> list[float]:
    return [
        window.requests,
        window.errors,
        window.refusals,
        window.timeouts,
        window.fallbacks,
        window.abandoned,
        window.request_seconds,
        window.output_tokens or 0,
        *(histogram.total for histogram in _histograms(window)),
    ]


def _samples(window: Window) -> tuple[int, ...]:
    return window.queue_samples, window.kv_samples


def _histograms(window: Window) -> tuple[Histogram, ...]:
    return window.ttft, window.itl, window.prompt_lengths, window.output_lengths


def _shape_changed(last: Histogram, now: Histogram) -> bool:
    if not last.total:
        return False
    if last.bounds != now.bounds:
        return True
    return any(b < a for a, b in zip(last.counts, now.counts, strict=True))


def _grown(last: Histogram, now: Histogram) -> Histogram:
    if not last.total:
        return now
    counts = zip(last.counts, now.counts, strict=True)
    return Histogram(now.bounds, tuple(later - earlier for earlier, later in counts))


def per_bucket(bounds: Mapping[float, float]) -> Histogram:
    """Return the histogram of cumulated counts by upper bound, infinity among them.

    Raises:
        ValueError: There is no bucket without bound, or the counts fall with the bound.
    """
    rising = sorted(bounds.items())
    if not rising or rising[-1][0] != float("inf"):
        raise ValueError("a histogram has no bucket le=+Inf")
    cumulated = [0, *(round(count) for _, count in rising)]
    counts = tuple(later - earlier for earlier, later in pairwise(cumulated))
    return Histogram(tuple(bound for bound, _ in rising[:-1]), counts)
