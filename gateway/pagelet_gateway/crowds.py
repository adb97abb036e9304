"""Limits of endpoints and lines in front of them as series, read when they are scraped."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily

from pagelet_gateway.core.guard import Key

Limits = Callable[[float], Mapping[Key, int]]
"""From monotonic seconds to the limits that hold, by model and revision."""

Lengths = Callable[[], Iterable[tuple[Key, int]]]
"""How many requests wait, by model and revision."""


class Crowds:
    """Collects where requests are held back, and how many wait."""

    def __init__(self) -> None:
        self._limits: Limits = lambda now: {}
        self._lengths: Lengths = lambda: ()

    def watch(self, limits: Limits, lengths: Lengths) -> None:
        """Read from these from now on."""
        self._limits, self._lengths = limits, lengths

    def held(self) -> dict[Key, int]:
        """Requests that wait in this gateway for a place, by model and revision."""
        return dict(self._lengths())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the two families, for the registry."""
        labels = ("model", "revision")
        limit = GaugeMetricFamily(
            "pagelet_gateway_overload_limit",
            "Most requests this gateway has at a revision at once, while its engines answer too "
            "late for more; absent otherwise.",
            labels=labels,
        )
        waiting = GaugeMetricFamily(
            "pagelet_gateway_requests_waiting",
            "Requests that wait in this gateway for a place at a revision's engines.",
            labels=labels,
        )
        for key, most in self._limits(time.monotonic()).items():
            limit.add_metric(key, most)
        for key, length in self._lengths():
            waiting.add_metric(key, length)
        yield limit
        yield waiting
