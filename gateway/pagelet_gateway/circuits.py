"""The state of every circuit as series, read when they are scraped."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.guard import Key

VALUES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}

States = Callable[[float], Iterable[tuple[Key, State, int]]]
"""From monotonic seconds to each revision's circuit and its number of ejected endpoints."""


class CircuitStates:
    """Collects which revisions and endpoints are left alone."""

    def __init__(self) -> None:
        self._states: States = lambda now: ()

    def watch(self, states: States) -> None:
        """Read from `states` from now on."""
        self._states = states

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the two families, for the registry."""
        labels = ("model", "revision")
        breaker = GaugeMetricFamily(
            "pagelet_gateway_breaker_state",
            "Circuit of a revision: 0 closed, 1 half-open (one probe at a time), 2 open.",
            labels=labels,
        )
        ejected = GaugeMetricFamily(
            "pagelet_gateway_endpoints_ejected",
            "Endpoints of a revision that get no requests because they fail or lag behind.",
            labels=labels,
        )
        for key, state, num_ejected in self._states(time.monotonic()):
            breaker.add_metric(key, VALUES[state])
            ejected.add_metric(key, num_ejected)
        yield breaker
        yield ejected
