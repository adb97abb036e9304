"""When to load-test what serves users: outside of peaks, and never often. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

QUIET_SHARE = 0.2
"""Of the last day's busiest hour: below it a load test takes from nobody."""

MIN_GAP_S = 6 * HOUR_S
"""Between two load tests of one model, whatever changes."""


@dataclass(frozen=True, slots=True)
class Day:
    """Requests by hour, the oldest first, the current hour last; at most 24 count."""

    hours: tuple[float, ...] = ()

    @property
    def peak(self) -> float:
        """The busiest hour's requests."""
        return max(self.hours[-24:], default=0.0)


def due_at(day: Day, due_since: float, last_test_at: float | None, now: float) -> float:
    """Return when the load test is to be run, Unix seconds; not after `now` means now.

    At once if this hour is quiet, else in the hour that was the quietest of the last day, at the
    latest a day after it became due. A model whose traffic is not known waits a day.

    Args:
        day: Requests of the last hours; times are of hours that end now.
        due_since: When the test became necessary.
        last_test_at: When the last one was run, if ever.
        now: Unix seconds.
    """
    earliest = max(due_since, now)
    if last_test_at is not None:
        earliest = max(earliest, last_test_at + MIN_GAP_S)
    latest = max(earliest, due_since + DAY_S)
    hours = day.hours[-24:]
    if not hours:
        return latest
    if hours[-1] <= QUIET_SHARE * day.peak:
        return earliest
    if len(hours) < 24:
        return latest
    return min(latest, _next(hours, earliest, now))


def _next(hours: Sequence[float], earliest: float, now: float) -> float:
    """Return the quietest hour's next beginning, not before `earliest`.

    The hour at index i began 24 - 1 - i whole hours before the current one did, and comes
    again a day after that.
    """
    quietest = min(range(len(hours)), key=lambda index: (hours[index], index))
    begins = now - (len(hours) - 1 - quietest) * HOUR_S + DAY_S
    while begins < earliest:
        begins += DAY_S
    return begins
