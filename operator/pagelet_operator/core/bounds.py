"""How far a count may be off: one-sided confidence bounds, exact for independent observations.

Shares: Clopper and Pearson, "The use of confidence or fiducial limits" (Biometrika 1934).
Quantiles: order statistics; the number of observations below the q-quantile is binomial,
whatever the distribution (David and Nagaraja, "Order Statistics", 2003, section 7.1), with the
rank interpolated so that more of the same evidence never widens a bound.
Both rest on the incomplete beta function, https://dlmf.nist.gov/8.17.
"""

from collections.abc import Callable
from math import exp, lgamma, log, log1p

_TINY = 1e-300
_PRECISION = 1e-13
_MAX_TERMS = 20_000
"""Of the continued fraction; it needs about the square root of its larger argument."""

_HALVINGS = 60


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
    """Evaluate DLMF 8.17.22 by Lentz' method."""
    c, d = 1.0, 1.0 / _away_from_0(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_0(1.0 + term * d)
            c = _away_from_0(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def share_at_least(hits: float, of: float, risk: float) -> float:
    """Return the lower bound of a share: above the true one with probability `risk` at most.

    Args:
        hits: Observations that count, at most `of`.
        of: Independent observations; 0 bounds nothing.
        risk: In (0, 1).
    """
    if hits <= 0 or of <= 0:
        return 0.0
    return _solve(lambda p: beta_cdf(p, hits, of - hits + 1) - risk)


def share_at_most(hits: float, of: float, risk: float) -> float:
    """Return the upper bound of a share; see `share_at_least`."""
    if of <= 0 or hits >= of:
        return 1.0
    return _solve(lambda p: beta_cdf(p, hits + 1, of - hits) - (1.0 - risk))


def rank_at_least(share: float, of: float, risk: float) -> float:
    """Return a share s such that the s-quantile of the sample lies below the true `share`-quantile.

    Fails with probability `risk` at most. 0 where the sample is too small to say anything.
    """
    if of <= 0:
        return 0.0
    # P(at least r of n lie below) = I_share(r, n - r + 1) falls with r: the largest r that is
    # still near certain. The position in front of that observation is surely below it, too.
    rank = _solve(lambda r: (1.0 - risk) - beta_cdf(share, _above_0(r * of), of - r * of + 1)) * of
    return max(0.0, rank - 1.0) / of


def rank_at_most(share: float, of: float, risk: float) -> float | None:
    """Return a share s such that the s-quantile of the sample lies above the true `share`-quantile.

    Fails with probability `risk` at most. None where even the largest observation may lie below.
    """
    if of <= 0 or beta_cdf(share, of, 1.0) > risk:
        return None
    return _solve(lambda r: risk - beta_cdf(share, _above_0(r * of), of - r * of + 1))


def _above_0(value: float) -> float:
    return max(value, 1e-9)


def _solve(rising: Callable[[float], float]) -> float:
    """Return where a rising function of [0, 1] crosses 0, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
