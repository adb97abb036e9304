"""How long prompts and outputs are: distributions of token counts.

Each answers `at(z)` for a standard normal draw, so that a plan draws one word per length whatever
the distribution, and a longer run begins with the lengths of a shorter one.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from pagelet_bench.core.errors import UsageError


class Lengths(Protocol):
    """Token counts, one for each standard normal draw; at least 1."""

    def at(self, z: float) -> int:
        """Return the length that belongs to a standard normal draw, in tokens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Token counts: exp(mu + sigma * z) with z standard normal, rounded, clipped to [low, high].

    Raises:
        UsageError: The bounds are empty or not positive, or sigma is negative.
    """

    mu: float
    sigma: float
    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse what has no values."""
        if not 1 <= self.low <= self.high:
            raise UsageError(
                f"lengths are clipped to {self.low}..{self.high} tokens; the lower bound must be "
                f"at least 1 and not above the upper one."
            )
        if self.sigma < 0:
            raise UsageError(f"sigma is {self.sigma}; a spread must not be negative.")

    def at(self, z: float) -> int:
        """Return the length that belongs to a standard normal draw, in tokens."""
        exponent = self.mu + self.sigma * z
        if exponent >= math.log(self.high):  # also keeps exp() from overflowing
            return self.high
        return max(self.low, round(math.exp(exponent)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Token counts of a histogram: evenly spread between the bounds of each bucket.

    Attributes:
        bounds: Upper bounds in tokens, ascending, finite.
        counts: Requests of each bucket, as many as bounds. What lies above the last bound has to
            be counted to it: nobody knows how long it was.

    Raises:
        UsageError: Bounds do not ascend, or nothing was counted.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what has no values."""
        if len(self.bounds) != len(self.counts) or list(self.bounds) != sorted(set(self.bounds)):
            raise UsageError("the histogram's bounds do not ascend; it cannot be read.")
        if not all(count >= 0 for count in self.counts) or not sum(self.counts) > 0:
            raise UsageError("the histogram counted no request; send some first.")

    def at(self, z: float) -> int:
        """Return the length that belongs to a standard normal draw, in tokens."""
        return self.quantile(0.5 * math.erfc(-z / math.sqrt(2.0)))

    def quantile(self, share: float) -> int:
        """Return the length that `share` (in [0, 1]) of the requests do not exceed, in tokens."""
        cumulative = list(accumulate(self.counts))
        rank = share * cumulative[-1]
        place = min(bisect_left(cumulative, rank), len(cumulative) - 1)
        while not self.counts[place]:  # rank 0 falls on empty buckets before the first full one
            place += 1
        below = self.bounds[place - 1] if place else 0.0
        inside = (rank - (cumulative[place] - self.counts[place])) / self.counts[place]
        return max(1, math.ceil(below + inside * (self.bounds[place] - below)))
