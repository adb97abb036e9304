"""How many replicas the live traffic needs: what may be lent to a canary is what is left.

By Little's law requests in flight are, on average, the time that requests took per time that
passed. Around that mean they scatter like any count of independent arrivals, and a replica that
takes its neighbour's requests must not make them slow, so only a part of its places counts.
"""

import math
from collections.abc import Iterable, Mapping

from pagelet_operator.core.model import Template
from pagelet_operator.core.window import Window

SPAN_S = 300.0
"""The time looked back on, seconds: longer than a burst, shorter than a change of the hour."""

MIN_SPAN_S = 60.0
"""Less says nothing: requests of minutes would not have ended in it, and nobody in between."""

USABLE_SHARE = 0.5
"""Of a replica's places. Chosen on the safe side, not measured: who is lent a neighbour's requests
still has half of a batch free."""

DEFAULT_PLACES = 64
"""`engine.maxNumSeqs` of a template that does not say it."""

SCATTER = 3.0
"""Standard deviations above the mean that are kept free: 1 moment of 700 has more."""

MAX_QUEUE = 0.5
"""Mean waiting sequences above which no replica is spared, whatever the rest says."""


def places_of(template: Template) -> int:
    """Return how many sequences a replica made from the template computes at once."""
    engine = template.get("engine")
    found = engine.get("maxNumSeqs") if isinstance(engine, Mapping) else None
    return found if isinstance(found, int) else DEFAULT_PLACES


def needed_replicas(windows: Iterable[Window], places: int, replicas: int) -> int | None:
    """Return the replicas that all traffic of a model needs, or None if it cannot be said.

    Args:
        windows: What was measured of each of its revisions over about `SPAN_S`.
        places: Sequences that a replica computes at once.
        replicas: Replicas a revision has in full; more than that is never said.
    """
    found = list(windows)
    span_s = max((window.span_s for window in found), default=0.0)
    if span_s < MIN_SPAN_S:
        return None
    samples = sum(window.queue_samples for window in found)
    if samples and sum(window.queue_sum for window in found) / samples > MAX_QUEUE:
        return replicas
    in_flight = sum(window.request_seconds for window in found) / span_s
    if in_flight == 0 and any(window.requests or window.fallbacks for window in found):
        return replicas  # Requests that all failed say nothing of what the others would take.
    peak = in_flight + SCATTER * math.sqrt(in_flight)
    return min(replicas, math.ceil(peak / (USABLE_SHARE * max(1, places))))
