"""What a canary's metric may be before it counts as harm, and up to where it counts as none.

Between the two lies what nobody can say yet. All in terms of harm, of which more is worse:
tokens per second count as their inverse, seconds per token.
"""

from dataclasses import dataclass
from math import sqrt

from pagelet_operator.core.measure import QUANTILES, RATES, Estimate, Metric, shown

RATE_MARGIN = 2.0
"""Percentage points above what is allowed up to which a rate still passes: to show that a rate
is at most 1 % takes three times the requests that it takes to show 3 %."""

MOMENT = 0.1
"""How much an engine's latencies wander by themselves, as a share, from one `MOMENT_S` to the
next: neighbours on the machine, batches that happen. No number of tokens averages that out,
only time does."""

MOMENT_S = 20.0

QUEUE_SLACK = 1.0
"""Waiting sequences by which a canary's queue may always exceed the stable's: one is noise."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a metric may be, in terms of harm: more is worse."""

    to_fail: float | None
    """A harm that is surely above this fails; None where nothing can."""
    to_pass: float
    """A harm that is surely below this passes."""
    text: str


def absolute(metric: Metric, limit: float) -> Limit:
    """Return the limit that a figure sets by itself."""
    margin = RATE_MARGIN if metric in RATES else 0.0
    allowed = _harm_of(metric, limit)
    return Limit(allowed, allowed + margin, f"allowed is {shown(metric, limit)}")


def relative(metric: Metric, change_percent: float, stable: Estimate, span_s: float) -> Limit:
    """Return the limit that a baseline sets.

    Args:
        metric: Of what.
        change_percent: How much worse is allowed; see `analysis.Rule`.
        stable: The baseline; surely below its upper bound, likely above its lower one.
        span_s: How long the canary's window is.
    """
    stable = harm(metric, stable)
    wander = moments(span_s) if metric in QUANTILES else 1.0
    margin = RATE_MARGIN if metric in RATES else 0.0
    value = shown(metric, _harm_of(metric, stable.value))
    allowed = shown(metric, _harm_of(metric, _worsened(metric, change_percent, stable.value)))
    fails_above = None if stable.high is None else _worsened(metric, change_percent, stable.high)
    return Limit(
        to_fail=None if fails_above is None else wander * fails_above,
        to_pass=_worsened(metric, change_percent, stable.low) + margin,
        text=f"stable has {value}, allowed is {allowed}",
    )


def harm(metric: Metric, found: Estimate) -> Estimate:
    """Return an estimate in terms of harm."""
    if metric is not Metric.TOKENS_PER_SECOND:
        return found
    inverse = _harm_of(metric, found.value)
    return Estimate(inverse, inverse, inverse)


def moments(span_s: float) -> float:
    """Return the factor by which two alike engines may differ over so long a window: 3 sigma."""
    return 1.0 + 3.0 * MOMENT * sqrt(2.0 * MOMENT_S / max(span_s, MOMENT_S))


def _worsened(metric: Metric, change_percent: float, value: float) -> float:
    """Return a harm made worse by what is allowed."""
    if metric in RATES:
        return value + change_percent
    if metric is Metric.TOKENS_PER_SECOND:
        return value / max(1e-9, 1.0 - change_percent / 100)
    slack = QUEUE_SLACK if metric is Metric.QUEUE_DEPTH else 0.0
    return value * (1.0 + change_percent / 100) + slack


def _harm_of(metric: Metric, value: float) -> float:
    """Turn a value into harm, or back."""
    if metric is not Metric.TOKENS_PER_SECOND:
        return value
    return 1.0 / value if value > 0 else float("inf")
