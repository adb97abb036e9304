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

_HALVINGS = 18
"""Of a bracket of a few standard errors: 1e-5 of one, far below what sampling leaves open."""


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
        risk: In (0, 1).
    """
    if hits <= 0 or of <= 0:
        return 0.0
    return _solve(lambda p: beta_cdf(p, hits, of - hits + 1) - risk, hits / of, of)[0]


def share_at_most(hits: float, of: float, risk: float) -> float:
    """Return the upper bound of a share; see `share_at_least`."""
    if of <= 0 or hits >= of:
        return 1.0
    return _solve(lambda p: beta_cdf(p, hits + 1, of - hits) - (1.0 - risk), hits / of, of)[1]


def rank_at_least(share: float, of: float, risk: float) -> float:
    """Return a share s: the sample's s-quantile lies below the true `share`-quantile.

    It fails to with probability `risk` at most. 0 where the sample is too small to say anything.
    """
    if of <= 0:
        return 0.0
    # P(at least r of n lie below) = I_share(r, n - r + 1) falls with r: the largest r that is
    # still near certain. The position in front of that observation is surely below it, too.
    rank = _solve(lambda r: (1.0 - risk) - _at_least(r * of, of, share), share, of)[0]
    return max(0.0, rank - 1.0 / of)


def rank_at_most(share: float, of: float, risk: float) -> float | None:
    """Return a share s: the sample's s-quantile lies above the true `share`-quantile.

    It fails to with probability `risk` at most. None where even the largest observation may lie
    below it.
    """
    if of <= 0 or _at_least(of, of, share) > risk:
        return None
    return _solve(lambda r: risk - _at_least(r * of, of, share), share, of)[1]


def _at_least(rank: float, of: float, share: float) -> float:
    """Return the chance that at least `rank` of `of` observations lie below the quantile."""
    return beta_cdf(share, rank, of - rank + 1) if rank > 0 else 1.0


def _solve(rising: Callable[[float], float], near: float, of: float) -> tuple[float, float]:
    """Return a narrow bracket, within [0, 1], of where a rising function crosses 0."""
    step = max(sqrt(near * (1.0 - near) / of), 1.0 / of)
    low = high = near
    while low > 0.0 and rising(low) > 0.0:
        low, step = max(0.0, low - step), 2 * step
    while high < 1.0 and rising(high) < 0.0:
        high, step = min(1.0, high + step), 2 * step
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0.0 else (low, middle)
    return low, high
