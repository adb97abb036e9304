"""How long requests are: moments and percentiles of prompts and outputs.

From percentiles alone the rest is filled in log-normally, piece by piece, which is how lengths of
chats are spread; from counts or a recording it is what was counted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.window import Histogram

_Z95, _Z99 = 1.6448536269514722, 2.3263478740408408
_GRID = tuple(-4.0 + step / 25 for step in range(201))
"""Standard deviations at which a spread is sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of prompts, or of outputs. Percentiles rise."""

    mean: float
    mean_square: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The requests of one model; prompts and outputs are taken as independent."""

    prompts: Lengths
    outputs: Lengths
    source: str
    """Where the lengths are from."""
    rate_per_s: float | None = None
    """Requests per second in the busiest minute of a recording that has times."""

    @property
    def held_tokens(self) -> float:
        """Mean tokens that a running sequence holds in the cache, seen at a random step.

        Long outputs are met more often, since they are there longer: E[o²] / 2 E[o], not E[o] / 2.
        """
        return self.prompts.mean + self.outputs.mean_square / (2 * self.outputs.mean)


def of_percentiles(p50: float, p95: float, p99: float, what: str) -> Lengths:
    """Return lengths of which three percentiles are known.

    Raises:
        PlanError: They fall, or are below one token; names `what`.
    """
    if not 1 <= p50 <= p95 <= p99 < math.inf:
        raise PlanError(
            f"{what} is {p50:g},{p95:g},{p99:g}; write p50,p95,p99 in tokens, each at least 1 and "
            f"none below the one before"
        )
    values = [_spread(z, p50, p95, p99) for z in _GRID]
    weights = [math.exp(-z * z / 2) for z in _GRID]
    total = sum(weights)
    pairs = list(zip(weights, values, strict=True))
    return Lengths(
        mean=sum(w * v for w, v in pairs) / total,
        mean_square=sum(w * v * v for w, v in pairs) / total,
        p50=p50,
        p95=p95,
        p99=p99,
    )


def of_values(values: Iterable[int]) -> Lengths:
    """Return the lengths of recorded requests.

    Raises:
        PlanError: There is none.
    """
    found = sorted(values)
    if not found:
        raise PlanError("--trace holds no request with a prompt and an answer; it is empty")
    return Lengths(
        mean=sum(found) / len(found),
        mean_square=sum(value * value for value in found) / len(found),
        p50=_rank(found, 0.5),
        p95=_rank(found, 0.95),
        p99=_rank(found, 0.99),
    )


def of_histogram(counted: Histogram, what: str) -> Lengths:
    """Return lengths counted by bucket; inside a bucket they are spread evenly.

    Those above the last bound count as twice that bound: nobody knows more of them.

    Raises:
        PlanError: Nothing was counted; names `what`.
    """
    if not counted.total:
        raise PlanError(f"{what} has no finished request to read lengths from; send some first")
    lows = (0.0, *counted.bounds)
    highs = (*counted.bounds, 2 * counted.bounds[-1])
    rows = list(zip(lows, highs, counted.counts, strict=True))
    mean = sum(n * (low + high) / 2 for low, high, n in rows) / counted.total
    square = sum(n * (low * low + low * high + high * high) / 3 for low, high, n in rows)
    return Lengths(
        mean=mean,
        mean_square=square / counted.total,
        p50=min(counted.quantile(0.5), highs[-1]),
        p95=min(counted.quantile(0.95), highs[-1]),
        p99=min(counted.quantile(0.99), highs[-1]),
    )


def _spread(z: float, p50: float, p95: float, p99: float) -> float:
    """Return the length at `z` standard deviations, never above p99 nor below one token."""
    first = math.log(p95 / p50) / _Z95
    if z <= _Z95:
        return max(1.0, p50 * math.exp(first * z))
    second = math.log(p99 / p95) / (_Z99 - _Z95)
    return min(p99, p95 * math.exp(second * (z - _Z95)))


def _rank(found: Sequence[int], share: float) -> float:
    return float(found[min(len(found) - 1, max(0, math.ceil(share * len(found)) - 1))])
