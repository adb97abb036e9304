"""What a window says of one metric: a value, and how far it may be off.

Latencies come from buckets. A quantile's bounds are the sample's own quantiles at ranks that
are surely below and above it (`bounds`), for as many independent observations as the window is
worth: gaps of one request are alike, and neighbours in a burst wait together. Requests that still
wait for their first token can only make a TTFT worse (`_worse`). Rates are exact bounds of a
share. Queues and tokens per second are means without a bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pagelet_operator.core import bounds
from pagelet_operator.core.window import Histogram, Profile, Window

ITL_CORRELATION = 0.05
"""How alike the gaps of one request are: of n gaps in requests of m each,
n / (1 + (m - 1) * correlation) count as independent (Kish, "Survey Sampling", 1965, 5.4)."""

TTFT_DESIGN_EFFECT = 2.0
"""Requests per independent observation of a TTFT: bursts make neighbours wait together."""

MIN_QUEUE_SAMPLES = 5
"""Readings of a queue before its mean says anything."""


class Metric(StrEnum):
    """What can be judged."""

    TTFT_P50 = "ttftP50"
    TTFT_P95 = "ttftP95"
    TTFT_P99 = "ttftP99"
    ITL_P50 = "itlP50"
    ITL_P95 = "itlP95"
    ITL_P99 = "itlP99"
    ERROR_RATE = "errorRate"
    REFUSAL_RATE = "refusalRate"
    TIMEOUT_RATE = "timeoutRate"
    FALLBACK_RATE = "fallbackRate"
    ABANDON_RATE = "abandonRate"
    """Requests whose client left before the answer was whole."""
    QUEUE_DEPTH = "queueDepth"
    """Waiting sequences per replica, mean of the window."""
    TOKENS_PER_SECOND = "tokensPerSecond"
    """Output tokens per second of request time: the speed one user sees. Less is worse."""


QUANTILES: Mapping[Metric, float] = {
    Metric.TTFT_P50: 0.5,
    Metric.TTFT_P95: 0.95,
    Metric.TTFT_P99: 0.99,
    Metric.ITL_P50: 0.5,
    Metric.ITL_P95: 0.95,
    Metric.ITL_P99: 0.99,
}
"""Latencies: the share of observations at or below the value, which is in seconds."""

RATES = frozenset(
    {
        Metric.ERROR_RATE,
        Metric.REFUSAL_RATE,
        Metric.TIMEOUT_RATE,
        Metric.FALLBACK_RATE,
        Metric.ABANDON_RATE,
    }
)
"""Shares of requests, percent."""

_TTFT = frozenset({Metric.TTFT_P50, Metric.TTFT_P95, Metric.TTFT_P99})


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value in its own unit, and a bound on each side."""

    value: float
    low: float
    high: float | None
    """None where the data set no upper bound."""


def estimate(
    metric: Metric, window: Window, *, low_risk: float, high_risk: float
) -> Estimate | None:
    """Return what `window` says of `metric`, or None if nothing.

    Args:
        metric: Which.
        window: Where from.
        low_risk: Chance that the true value lies below `low`.
        high_risk: Chance that it lies above `high`.
    """
    if metric in QUANTILES:
        found = _quantile(metric, window, low_risk, high_risk)
        if metric not in _TTFT or not window.waiting.total:
            return found
        waited = replace(window, ttft=window.ttft_so_far)
        return _worse(found, _quantile(metric, waited, low_risk, high_risk))
    if metric in RATES:
        return _rate(metric, window, low_risk, high_risk)
    value = _queue(window) if metric is Metric.QUEUE_DEPTH else _speed(window)
    return None if value is None else Estimate(value, value, value)


def stored(metric: Metric, profile: Profile) -> Estimate | None:
    """Return what a stored profile says of `metric`: a figure, taken as it is."""
    value = profile.values.get(metric)
    return None if value is None else Estimate(value, value, value)


def shown(metric: Metric, value: float) -> str:
    """Write a value with its unit."""
    if metric in RATES:
        return f"{value:.3g} %"
    if metric in QUANTILES:
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}"


def independent(metric: Metric, window: Window) -> float:
    """Return how many independent observations a latency's histogram is worth."""
    if metric in _TTFT:
        return window.ttft.total / TTFT_DESIGN_EFFECT
    gaps, streams = window.itl.total, max(1, window.ttft.total)
    # A window's edge may hold gaps of streams that began before it.
    return gaps / (1.0 + max(0.0, gaps / streams - 1.0) * ITL_CORRELATION)


def _quantile(metric: Metric, window: Window, low_risk: float, high_risk: float) -> Estimate | None:
    histogram: Histogram = window.ttft if metric in _TTFT else window.itl
    if not histogram.total:
        return None
    share, size = QUANTILES[metric], independent(metric, window)
    high = bounds.rank_at_most(share, size, high_risk)
    return Estimate(
        value=histogram.quantile(share),
        low=histogram.quantile(bounds.rank_at_least(share, size, low_risk)),
        high=None if high is None else histogram.quantile(high),
    )


def _worse(ended: Estimate | None, so_far: Estimate | None) -> Estimate | None:
    """Return the worse of what ended requests say and what they say with those that still wait.

    All that wait are entered, not only the longest: a choice by length would blame the innocent.
    But many have only just begun, and would make a figure seem better, or surer, than it is.
    """
    if so_far is None:
        return ended
    if ended is None:
        return replace(so_far, high=None)
    high = None if ended.high is None else max(ended.high, so_far.high or ended.high)
    return Estimate(max(ended.value, so_far.value), max(ended.low, so_far.low), high)


def _rate(metric: Metric, window: Window, low_risk: float, high_risk: float) -> Estimate | None:
    hits, of = {
        Metric.ERROR_RATE: (window.errors, window.requests),
        Metric.REFUSAL_RATE: (window.refusals, window.requests),
        Metric.TIMEOUT_RATE: (window.timeouts, window.requests),
        Metric.FALLBACK_RATE: (window.fallbacks, window.requests + window.fallbacks),
        Metric.ABANDON_RATE: (window.abandoned, window.requests + window.abandoned),
    }[metric]
    if not of:
        return None
    return Estimate(
        value=100 * hits / of,
        low=100 * bounds.share_at_least(hits, of, low_risk),
        high=100 * bounds.share_at_most(hits, of, high_risk),
    )


def _queue(window: Window) -> float | None:
    enough = window.queue_samples >= MIN_QUEUE_SAMPLES
    return window.queue_sum / window.queue_samples if enough else None


def _speed(window: Window) -> float | None:
    if not window.output_tokens or window.request_seconds <= 0:
        return None
    return window.output_tokens / window.request_seconds
