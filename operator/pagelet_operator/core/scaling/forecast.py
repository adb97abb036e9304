"""What the demand will be when a replica that is asked for now becomes ready."""

import math
from collections.abc import Sequence

MIN_POINTS = 6
"""Fewer show no trend."""

MAX_GROWTH = 2.0
"""A forecast is at most this multiple of what was measured."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the rise per second that is surely there; 0 for a fall, a step or noise.

    The time is cut into three parts. A trend rises from the first to the second and from there
    to the third; a step rises only once. The smaller rise counts, less one standard error.

    Args:
        points: Times (seconds) and values, in order; fewer than `MIN_POINTS` show nothing.
    """
    count = len(points)
    if count < MIN_POINTS:
        return 0.0
    third = count // 3
    first, second, last = points[:third], points[third : count - third], points[count - third :]
    return max(0.0, min(_rise(first, second), _rise(second, last)))


def forecast(points: Sequence[tuple[float, float]], level: float, horizon_s: float) -> float:
    """Return the value `horizon_s` after the last point; never below `level`.

    Args:
        points: Times (seconds) and values, in order.
        level: The value now, 0 or more.
        horizon_s: How far ahead.
    """
    return min(level + slope(points) * horizon_s, MAX_GROWTH * level)


def _rise(before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]) -> float:
    (time, value, error), (later_time, later, later_error) = _mean(before), _mean(after)
    if later_time <= time:
        return 0.0
    return (later - value - math.hypot(error, later_error)) / (later_time - time)


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the mean time, the mean value and its standard error."""
    count = len(points)
    value = math.fsum(y for _, y in points) / count
    spread = math.fsum((y - value) ** 2 for _, y in points) / max(1, count - 1)
    return math.fsum(t for t, _ in points) / count, value, math.sqrt(spread / count)
