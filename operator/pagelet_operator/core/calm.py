"""What stable did when it was no busier than a canary is: a baseline for a canary that idles.

Latencies rise with load. A canary with a small share has less to do than a replica of stable, and
one that is twice as slow may seem as fast. So a canary that is clearly less busy is compared with
stable's calmest time of the last half hour, of those in which stable was at least as busy as the
canary is: whatever the curve of latency over load, stable did no better there than it would under
the canary's load. Only that latencies do not fall with load is taken for granted.

How busy is told by requests per second and replica, not by requests in flight: slow requests are
longer in flight, and the calmest time would be the fastest by choice.
"""

from collections.abc import Sequence

from pagelet_operator.core.window import Window

SPAN_S = 1800.0
"""How far back stable's times go: long enough for calm ones, short enough to be the same day."""

BLOCK_S = 30.0
"""Length of the times that are compared: several requests long, shorter than most bursts."""

LESS_BUSY = 0.5
"""A canary with less than this share of stable's load per replica is clearly less busy."""

CALMEST = 4
"""One of so many of the times that count is taken, one at least."""


def calm(
    pieces: Sequence[Window], busy: Window | None, canary: Window | None, replicas: float
) -> Window | None:
    """Return stable's calmest time, or None where the canary is about as busy, or nothing is known.

    Args:
        pieces: What was measured of stable, in order, without overlap.
        busy: What was measured of stable over the canary's window.
        canary: What was measured of the canary.
        replicas: How many replicas stable has for each of the canary's.
    """
    if busy is None or canary is None:
        return None
    load = _rate(canary) * replicas
    if load >= LESS_BUSY * _rate(busy):
        return None
    times = sorted((t for t in _blocks(pieces) if _rate(t) >= load), key=_rate)
    if not times:
        return None
    found, *more = times[: max(1, len(times) // CALMEST)]
    for time in more:
        found = found + time
    return found


def _blocks(pieces: Sequence[Window]) -> list[Window]:
    """Join neighbours to times of at least `BLOCK_S`; what is left over at the end is dropped."""
    blocks: list[Window] = []
    begun: Window | None = None
    for piece in pieces:
        begun = piece if begun is None else begun + piece
        if begun.span_s >= BLOCK_S:
            blocks.append(begun)
            begun = None
    return blocks


def _rate(window: Window) -> float:
    """Return requests per second."""
    return window.requests / window.span_s if window.span_s > 0 else 0.0
