"""How far a count may be off: one-sided confidence bounds, exact for independent observations.

Shares: Clopper and Pearson, "The use of confidence or fiducial limits" (Biometrika 1934).
Quantiles: order statistics; the number of observations below the q-quantile is binomial,
whatever the distribution (David and Nagaraja, "Order Statistics", 2003, section 7.1), with the
rank interpolated so that more of the same evidence never widens a bound.
Both rest on the incomplete beta function, https://dlmf.nist.gov/8.17.
"""

from collections.abc import Callable
from math import exp, lgamma, log, log1p, sqrt

_PRECISION = 1e-12
_MAX_TERMS = 20_000
"""Of the continued fraction; it needs about the square root of its larger argument."""

_TOLERANCE = 0.999
"""A bound's risk is between this share of what was asked for and all of it."""

_MAX_STEPS = 60


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b); a and b are above 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    # The fraction converges fast on this side of the mean only; DLMF 8.17.4 mirrors it.
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(x, a, b) / a)
    return max(0.0, 1.0 - front * _fraction(1.0 - x, b, a) / b)


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate DLMF 8.17.22 by Lentz' method; no term vanishes where `beta_cdf` asks for it."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        double = a + 2 * m
        even = m * (b - m) * x / ((double - 1) * double)
        d, c = 1.0 / (1.0 + even * d), 1.0 + even / c
        value *= c * d
        odd = -(a + m) * (a + b + m) * x / (double * (double + 1))
        d, c = 1.0 / (1.0 + odd * d), 1.0 + odd / c
        value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def share_at_least(hits: float, of: float, risk: float) -> float:
    """Return the lower bound of a share: above the true one with probability `risk` at most.

    Args:
        hits: Observations that count, at most `of`.
        of: Independent observations; 0 bounds nothing.
        risk: In (0, 0.5).
    """
    if hits <= 0 or of <= 0:
        return 0.0
    return _outermost(lambda p: beta_cdf(p, hits, of - hits + 1), risk, hits / of, of, -1.0)


def share_at_most(hits: float, of: float, risk: float) -> float:
    """Return the upper bound of a share; see `share_at_least`."""
    if of <= 0 or hits >= of:
        return 1.0
    return _outermost(lambda p: beta_cdf(1 - p, of - hits, hits + 1), risk, hits / of, of, 1.0)


def rank_at_least(share: float, of: float, risk: float) -> float:
    """Return a share s: the sample's s-quantile lies below the true `share`-quantile.

    It fails to with probability `risk` at most. 0 where the sample is too small to say anything.
    """
    if of <= 0:
        return 0.0

    # P(fewer than r of n lie below the quantile) = I_(1-share)(n - r + 1, r) rises with r.
    def fewer(rank: float) -> float:
        return beta_cdf(1 - share, of - rank * of + 1, rank * of) if rank > 0 else 0.0

    # The position in front of an observation that is surely below lies below, too.
    return max(0.0, _outermost(fewer, risk, share, of, -1.0) - 1.0 / of)


def rank_at_most(share: float, of: float, risk: float) -> float | None:
    """Return a share s: the sample's s-quantile lies above the true `share`-quantile.

    It fails to with probability `risk` at most. None where even the largest observation may lie
    below it.
    """
    if of <= 0 or beta_cdf(share, of, 1.0) > risk:
        return None
    return _outermost(
        lambda rank: beta_cdf(share, rank * of, of - rank * of + 1), risk, share, of, 1.0
    )


def _outermost(
    tail: Callable[[float], float], risk: float, near: float, of: float, side: float
) -> float:
    """Return how far from `near`, in [0, 1], a tail must be left for its chance to be `risk`.

    False position in the tail's logarithm, which is almost a parabola; the side that did not
    move counts half (the Illinois rule), so that both close in.
    """
    end, goal = (0.0 if side < 0 else 1.0), log(risk)
    step = max(sqrt(near * (1.0 - near) / of), 1.0 / of)
    inner, inner_off = near, 1.0
    outer = near
    while True:
        outer, step = min(1.0, max(0.0, outer + side * step)), 2 * step
        outer_off = _log(tail(outer)) - goal
        if outer_off <= 0.0:
            break
        if outer == end:
            return end
        inner, inner_off = outer, outer_off
    found = outer_off
    for _ in range(_MAX_STEPS):
        if found > log(_TOLERANCE):
            break
        part = min(0.95, max(0.05, inner_off / (inner_off - outer_off)))
        middle = inner + part * (outer - inner)
        off = _log(tail(middle)) - goal
        if off <= 0.0:
            outer, outer_off, found, inner_off = middle, off, off, inner_off / 2
        else:
            inner, inner_off, outer_off = middle, off, outer_off / 2
    return outer


def _log(chance: float) -> float:
    return log(max(chance, 1e-300))
