"""How long requests have waited that still have no first token, read when it is scraped.

An engine that hangs ends no request, so nothing is counted of it until their time is up. What
waits at this moment is known: each such request takes at least as long as it has waited.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily

Key = tuple[str, str]
"""Model and revision."""

Waits = Callable[[float], Iterable[tuple[Key, float]]]
"""From monotonic seconds to the requests that wait, each by its revision and seconds waited."""


class FirstTokenWaits:
    """Collects waits by bucket, cumulated as a histogram's are.

    Args:
        bounds: Upper bounds in seconds: those of the TTFTs, so that both can be added up.
        known: Revisions that have had requests; they are exported when none waits, too. A series
            that were left out would keep its last value in a range of samples.
    """

    def __init__(self, bounds: tuple[float, ...], known: Collection[Key]) -> None:
        self._bounds = bounds
        self._known = known
        self._waits: Waits = lambda now: ()

    def watch(self, waits: Waits) -> None:
        """Read from these from now on."""
        self._waits = waits

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the one family, for the registry."""
        family = GaugeMetricFamily(
            "pagelet_gateway_waiting_for_first_token",
            "Streamed requests in flight without a first token that have waited at most `le` "
            "seconds since they arrived.",
            labels=("model", "revision", "le"),
        )
        for key, counts in self._counts().items():
            total = 0
            for bound, count in zip((*self._bounds, "+Inf"), counts, strict=True):
                total += count
                family.add_metric((*key, str(bound)), total)
        yield family

    def _counts(self) -> dict[Key, list[int]]:
        found = {key: [0] * (len(self._bounds) + 1) for key in self._known}
        for key, waited_s in self._waits(time.monotonic()):
            counts = found.setdefault(key, [0] * (len(self._bounds) + 1))
            counts[bisect_left(self._bounds, waited_s)] += 1
        return found
